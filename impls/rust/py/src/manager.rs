//! The manager as Python sees it: JSON in, JSON out, one crossing per call. `crossfade.impls.rust.manager` wraps it.
//!
//! Rule: no policy here. What waits returns a [`Coroutine`]; what is known at once returns at once.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use crossfade_runtime::{Config, Error, ListKind, Manager as Runtime, ServerSpec, Target, Wanted};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::bridge::{Coroutine, Outcome};
use crate::faces::{Gateway, Logs, Subscription};
use crate::{errors, process};

/// A manager on the process's one tokio runtime. Private to crossfade; open one with
/// `crossfade.impls.open_manager(config, "rust")`.
#[pyclass(frozen, module = "crossfade_native")]
pub struct Manager {
    runtime: Arc<Runtime>,
    closed: Arc<AtomicBool>,
}

#[pymethods]
impl Manager {
    /// `config` is `Config.to_json()`. `workers` sizes the runtime if this is the first work in the process. Raises
    /// `ConfigError`.
    #[new]
    #[pyo3(signature = (config, *, workers = None))]
    fn new(py: Python<'_>, config: &[u8], workers: Option<usize>) -> PyResult<Self> {
        let handle = process::start(py, workers)?;
        let config = Config::from_json(config).map_err(|error| errors::raise(py, &error))?;
        Ok(Self {
            runtime: Runtime::new(config, handle.clone()),
            closed: Arc::default(),
        })
    }

    /// Connects to every server that is not lazy.
    fn start(&self) -> Coroutine {
        let runtime = Arc::clone(&self.runtime);
        Coroutine::new("Manager.start", async move { runtime.start().await.into() })
    }

    /// Drains, closes and reaps everything.
    fn close(&self, drain_s: f64) -> PyResult<Coroutine> {
        let drain = seconds(drain_s)?;
        let runtime = Arc::clone(&self.runtime);
        let closed = Arc::clone(&self.closed);
        Ok(Coroutine::new("Manager.close", async move {
            runtime.close(drain).await;
            closed.store(true, Relaxed);
            Outcome::Nothing
        }))
    }

    /// Takes a `ServerSpec` as JSON, gives its `ServerInfo` as JSON.
    fn register(&self, py: Python<'_>, spec: &[u8]) -> PyResult<Coroutine> {
        let spec = ServerSpec::from_json(spec).map_err(|error| errors::raise(py, &error))?;
        let runtime = Arc::clone(&self.runtime);
        Ok(Coroutine::new("Manager.register", async move {
            runtime
                .register(spec)
                .await
                .and_then(|info| json(&info))
                .into()
        }))
    }

    /// Stops routing to a server, waits for its calls, closes it.
    fn unregister(&self, name: String, drain_s: f64) -> PyResult<Coroutine> {
        let drain = seconds(drain_s)?;
        let runtime = Arc::clone(&self.runtime);
        Ok(Coroutine::new("Manager.unregister", async move {
            runtime.unregister(&name, drain).await.into()
        }))
    }

    /// Takes a server out of routing, or puts it back; gives its `ServerInfo` as JSON.
    fn maintenance(&self, name: String, on: bool, drain_s: f64) -> PyResult<Coroutine> {
        let drain = seconds(drain_s)?;
        let runtime = Arc::clone(&self.runtime);
        Ok(Coroutine::new("Manager.maintenance", async move {
            runtime
                .maintenance(&name, on, drain)
                .await
                .and_then(|info| json(&info))
                .into()
        }))
    }

    /// Registers and starts a server; gives its `DeploymentInfo` as JSON, as the four that follow.
    fn deploy(&self, py: Python<'_>, spec: &[u8]) -> PyResult<Coroutine> {
        let spec = ServerSpec::from_json(spec).map_err(|error| errors::raise(py, &error))?;
        let runtime = Arc::clone(&self.runtime);
        Ok(Coroutine::new("Manager.deploy", async move {
            runtime
                .deploy(spec)
                .await
                .and_then(|info| json(&info))
                .into()
        }))
    }

    /// Replaces the running revision. Cancelling rolls back; `settled` waits for that.
    #[pyo3(signature = (spec, strategy = None))]
    fn update(&self, py: Python<'_>, spec: &[u8], strategy: Option<String>) -> PyResult<Coroutine> {
        let spec = ServerSpec::from_json(spec).map_err(|error| errors::raise(py, &error))?;
        let runtime = Arc::clone(&self.runtime);
        Ok(Coroutine::new("Manager.update", async move {
            runtime
                .update(spec, strategy.as_deref())
                .await
                .and_then(|info| json(&info))
                .into()
        }))
    }

    /// Starts or drains instances.
    fn scale(&self, name: String, instances: u64) -> Coroutine {
        let runtime = Arc::clone(&self.runtime);
        Coroutine::new("Manager.scale", async move {
            runtime
                .scale(&name, instances)
                .await
                .and_then(|info| json(&info))
                .into()
        })
    }

    /// Aborts what runs, or goes back to the previous revision.
    fn rollback(&self, name: String) -> Coroutine {
        let runtime = Arc::clone(&self.runtime);
        Coroutine::new("Manager.rollback", async move {
            runtime
                .rollback(&name)
                .await
                .and_then(|info| json(&info))
                .into()
        })
    }

    /// Waits until no change of this server is under way.
    fn settled(&self, name: String) -> Coroutine {
        let runtime = Arc::clone(&self.runtime);
        Coroutine::new("Manager.settled", async move {
            runtime.settled(&name).await;
            Outcome::Nothing
        })
    }

    /// A JSON array of `DeploymentInfo`, in order of registration.
    fn deployments<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        now(py, json(&self.runtime.deployments()))
    }

    /// Unregisters a server and releases or keeps its storage; `None` does what its claim says.
    fn undeploy(&self, name: String, drain_s: f64, keep: Option<bool>) -> PyResult<Coroutine> {
        let drain = seconds(drain_s)?;
        let runtime = Arc::clone(&self.runtime);
        Ok(Coroutine::new("Manager.undeploy", async move {
            runtime.undeploy(&name, drain, keep).await.into()
        }))
    }

    /// A JSON array of `StorageInfo`.
    fn storage<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        now(py, json(&self.runtime.storage()))
    }

    /// One `ServerInfo` as JSON.
    fn get<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyBytes>> {
        now(py, self.runtime.get(name).and_then(|info| json(&info)))
    }

    /// A JSON array of `ServerInfo` of those that have all that is asked for, in order of registration.
    #[pyo3(signature = (tag = None, state = None, capability = None))]
    fn servers<'py>(
        &self,
        py: Python<'py>,
        tag: Option<&str>,
        state: Option<&str>,
        capability: Option<&str>,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let wanted = Wanted {
            tag,
            state,
            capability,
        };
        now(py, json(&self.runtime.servers(&wanted)))
    }

    /// Sends one request and gives the bytes of its `result`. `params` is a JSON object.
    #[pyo3(signature = (method, params, server = None, timeout_s = None, principal = None))]
    fn request(
        &self,
        method: &str,
        params: &[u8],
        server: Option<String>,
        timeout_s: Option<f64>,
        principal: Option<String>,
    ) -> PyResult<Coroutine> {
        let method = known_method(method);
        let params = Bytes::copy_from_slice(params);
        let target = server.map_or(Target::Auto, Target::Server);
        let timeout = timeout_s.map(seconds).transpose()?;
        let runtime = Arc::clone(&self.runtime);
        let may_know = runtime.may_know(&method);
        let work = async move {
            runtime
                .request(&method, target, params, timeout, principal.as_deref())
                .await
                .into()
        };
        Ok(if may_know {
            Coroutine::eager("Manager.request", work)
        } else {
            Coroutine::new("Manager.request", work)
        })
    }

    /// Every page: a JSON array of `{"server","name","data"}`. `kind` is `tools`, `resources`, `resource_templates` or
    /// `prompts`.
    #[pyo3(signature = (kind, server = None))]
    fn list(&self, kind: &str, server: Option<String>) -> PyResult<Coroutine> {
        let kind = match kind {
            "tools" => ListKind::Tools,
            "resources" => ListKind::Resources,
            "resource_templates" => ListKind::ResourceTemplates,
            "prompts" => ListKind::Prompts,
            other => {
                return Err(PyValueError::new_err(format!(
                    "nothing to list called {other:?}"
                )));
            }
        };
        let runtime = Arc::clone(&self.runtime);
        Ok(Coroutine::new("Manager.list", async move {
            runtime.list(kind, server.as_deref()).await.into()
        }))
    }

    /// Probes now; a JSON object of state by server name.
    #[pyo3(signature = (server, timeout_s))]
    fn health(&self, server: Option<String>, timeout_s: f64) -> PyResult<Coroutine> {
        let timeout = seconds(timeout_s)?;
        let runtime = Arc::clone(&self.runtime);
        Ok(Coroutine::new("Manager.health", async move {
            let found = runtime.health(server.as_deref(), timeout).await;
            found
                .and_then(|states| {
                    json(
                        &states
                            .into_iter()
                            .collect::<std::collections::BTreeMap<_, _>>(),
                    )
                })
                .into()
        }))
    }

    /// `Metrics` as JSON.
    fn metrics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        now(py, json(&self.runtime.metrics()))
    }

    /// Events from now on.
    fn subscribe(&self) -> Subscription {
        Subscription::new(self.runtime.subscribe())
    }

    /// Events from now on, without wanting that servers are listened to.
    fn overhear(&self) -> Subscription {
        Subscription::new(self.runtime.overhear())
    }

    /// What servers write to stderr, from now on; one reader at a time.
    fn logs(&self) -> Logs {
        Logs::new(self.runtime.logs())
    }

    /// Serves MCP clients; gives a `Gateway`.
    fn serve(&self, host: String, port: u16) -> Coroutine {
        let runtime = Arc::clone(&self.runtime);
        Coroutine::new("Manager.serve", async move {
            match runtime.serve(&host, port).await {
                Ok(handle) => Outcome::Build(Box::new(move |py| {
                    Ok(Py::new(py, Gateway::new(handle))?.into_any())
                })),
                Err(error) => Outcome::Failed(error),
            }
        })
    }

    /// Serves one MCP client on stdin and stdout until it closes stdin.
    fn serve_stdio(&self) -> Coroutine {
        let runtime = Arc::clone(&self.runtime);
        Coroutine::new("Manager.serve_stdio", async move {
            runtime.serve_stdio().await.into()
        })
    }
}

impl Drop for Manager {
    /// A manager that nobody closed to the end still gives back its children and connections.
    fn drop(&mut self) {
        if self.closed.load(Relaxed) {
            return;
        }
        let runtime = Arc::clone(&self.runtime);
        if let Some(handle) = process::running() {
            handle.spawn(async move { runtime.close(Duration::ZERO).await });
        } else {
            std::mem::forget(runtime); // forked: its locks may be held by threads that are gone
        }
    }
}

/// Seconds from Python. Infinity is a year.
pub(crate) fn seconds(value: f64) -> PyResult<Duration> {
    const YEAR: f64 = 31_536_000.0;
    if value.is_nan() || value < 0.0 {
        return Err(PyValueError::new_err(format!(
            "a duration of {value} seconds makes no sense; pass 0 or more"
        )));
    }
    Ok(Duration::from_secs_f64(value.min(YEAR)))
}

/// The hot methods without an allocation.
fn known_method(method: &str) -> Cow<'static, str> {
    match method {
        "tools/call" => Cow::Borrowed("tools/call"),
        "resources/read" => Cow::Borrowed("resources/read"),
        "prompts/get" => Cow::Borrowed("prompts/get"),
        "completion/complete" => Cow::Borrowed("completion/complete"),
        other => Cow::Owned(other.to_owned()),
    }
}

pub(crate) fn json(value: &impl serde::Serialize) -> crossfade_runtime::Result<Bytes> {
    serde_json::to_vec(value)
        .map(Bytes::from)
        .map_err(|error| Error::Internal {
            message: format!("a snapshot could not be written ({error}); please report it"),
        })
}

fn now(py: Python<'_>, result: crossfade_runtime::Result<Bytes>) -> PyResult<Bound<'_, PyBytes>> {
    result
        .map(|bytes| PyBytes::new(py, &bytes))
        .map_err(|error| errors::raise(py, &error))
}
