//! Probes of the bridge: known work on tokio, for tests and for measuring what one await costs.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use crate::bridge::{Coroutine, Outcome};
use crate::errors;

static RUNNING: AtomicUsize = AtomicUsize::new(0);

/// Counts the probes whose future is alive, so that a test sees a cancellation arrive.
struct Alive;

impl Alive {
    fn new() -> Self {
        RUNNING.fetch_add(1, SeqCst);
        Self
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        RUNNING.fetch_sub(1, SeqCst);
    }
}

/// Work of a known kind: `echo` gives the payload back, `sleep` after a millisecond, `never` does not end, `panic`
/// panics, `known` answers without tokio, and any other kind is the code of an error to raise.
#[pyfunction]
#[pyo3(signature = (kind, payload = Vec::new(), server = None))]
#[allow(clippy::needless_pass_by_value)] // extracted by pyo3
pub fn bridge_probe(kind: &str, payload: Vec<u8>, server: Option<String>) -> PyResult<Coroutine> {
    let payload = Bytes::from(payload);
    if kind == "known" {
        return Ok(Coroutine::known("bridge_probe", Outcome::Bytes(payload)));
    }
    if !kind
        .bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    {
        return Err(PyValueError::new_err(format!("unknown probe {kind:?}")));
    }
    let kind = kind.to_owned();
    Ok(Coroutine::new("bridge_probe", async move {
        let _alive = Alive::new();
        match kind.as_str() {
            "echo" => Outcome::Bytes(payload),
            "sleep" => {
                tokio::time::sleep(Duration::from_millis(1)).await;
                Outcome::Bytes(payload)
            }
            "never" => std::future::pending().await,
            "panic" => panic!("a probe was asked to panic"),
            _ => Outcome::Build(Box::new(move |py| {
                let message = String::from_utf8_lossy(&payload);
                Err(if kind == "remote" {
                    errors::remote(
                        py,
                        &message,
                        server.as_deref(),
                        -32001,
                        Some(b"{\"why\":[1,null]}"),
                    )
                } else {
                    errors::by_code(py, &kind, &message, server.as_deref())
                })
            })),
        }
    }))
}

/// How many probes are alive on tokio.
#[pyfunction]
pub fn bridge_probes_running() -> usize {
    RUNNING.load(SeqCst)
}
