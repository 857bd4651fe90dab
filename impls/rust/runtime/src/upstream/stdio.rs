//! One stdio server: started on use, agreed with once per process, restarted after it died.
//!
//! The rule: a call never outlives its process (death fails everything in flight at once) and a process never outlives
//! its manager (own process group, killed as a group on every way out). Process and pipes are in `child`.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::child::Child;
use super::discovery::{self, Agreed, Verdict};
use super::message::hop_params;
use super::{Outgoing, Server, Shared};
use crate::clock::lock;
use crate::config::{EraSpec, ServerSpec};
use crate::error::{Error, Result};
use crate::info::Era;

/// How long a server may think about `server/discover` before `initialize` is tried beside it.
const SILENCE: Duration = Duration::from_secs(2);
/// A process that lived this long was not a failed start.
const STEADY: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Current {
    child: Arc<Child>,
    agreed: Arc<Agreed>,
    since: Instant,
}

/// A process that nobody has yet: it ends if its start fails, or if nobody waits for it any more.
struct Started<'a>(Option<&'a Arc<Child>>);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        if let Some(child) = self.0 {
            child.kill();
        }
    }
}

#[derive(Debug)]
pub(crate) struct StdioLink {
    spec: ServerSpec,
    shared: Arc<Shared>,
    server: Weak<Server>,
    current: Mutex<Option<Current>>,
    starting: tokio::sync::Mutex<()>,
    closed: AtomicBool,
    failures: AtomicU32,
    last_end: Mutex<Option<Instant>>,
}

impl StdioLink {
    pub(crate) fn new(
        spec: &ServerSpec,
        directory: Option<&str>,
        shared: &Arc<Shared>,
        server: Weak<Server>,
    ) -> Arc<Self> {
        let mut spec = spec.clone();
        if let Some(directory) = directory {
            spec.cwd.get_or_insert_with(|| directory.to_owned());
            let name = "CROSSFADE_STORAGE".to_owned();
            spec.env.entry(name).or_insert_with(|| directory.to_owned());
        }
        Arc::new(Self {
            spec,
            shared: Arc::clone(shared),
            server,
            current: Mutex::new(None),
            starting: tokio::sync::Mutex::new(()),
            closed: AtomicBool::new(false),
            failures: AtomicU32::new(0),
            last_end: Mutex::new(None),
        })
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        lock(&self.current)
            .as_ref()
            .filter(|current| !current.child.is_dead())
            .map(|current| current.child.pid())
    }

    pub(crate) fn agreed(&self) -> Option<Arc<Agreed>> {
        lock(&self.current)
            .as_ref()
            .map(|current| Arc::clone(&current.agreed))
    }

    pub(crate) async fn ready(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Agreed>> {
        Ok(self.live(deadline).await?.1)
    }

    fn running(&self) -> Option<(Arc<Child>, Arc<Agreed>)> {
        let mut current = lock(&self.current);
        let found = current.as_ref()?;
        if found.child.is_dead() {
            if found.since.elapsed() > STEADY {
                self.failures.store(0, Relaxed);
            }
            self.failures.fetch_add(1, Relaxed);
            *lock(&self.last_end) = Some(Instant::now());
            *current = None;
            return None;
        }
        Some((Arc::clone(&found.child), Arc::clone(&found.agreed)))
    }

    /// The running process; starts one if there is none. Callers share one start.
    async fn live(self: &Arc<Self>, deadline: Instant) -> Result<(Arc<Child>, Arc<Agreed>)> {
        if let Some(found) = self.running() {
            return Ok(found);
        }
        Box::pin(async {
            let _one = self.starting.lock().await;
            if let Some(found) = self.running() {
                return Ok(found);
            }
            if self.closed.load(Relaxed) {
                return Err(self.gone());
            }
            self.back_off(deadline).await?;
            match self.start(deadline).await {
                Ok((child, _)) if self.closed.load(Relaxed) => {
                    child.kill();
                    Err(self.gone())
                }
                Ok((child, agreed)) => {
                    let agreed = Arc::new(agreed);
                    *lock(&self.current) = Some(Current {
                        child: Arc::clone(&child),
                        agreed: Arc::clone(&agreed),
                        since: Instant::now(),
                    });
                    Ok((child, agreed))
                }
                Err(error) => {
                    self.failures.fetch_add(1, Relaxed);
                    *lock(&self.last_end) = Some(Instant::now());
                    Err(error)
                }
            }
        })
        .await
    }

    /// The first restart is at once, later ones wait 100 ms, 200 ms ... 10 s since the last end.
    async fn back_off(&self, deadline: Instant) -> Result<()> {
        let failures = self.failures.load(Relaxed);
        let Some(ended) = *lock(&self.last_end) else {
            return Ok(());
        };
        if failures < 2 {
            return Ok(());
        }
        let wait = Duration::from_millis(100) * (1 << (failures - 2).min(7));
        let until = ended + wait.min(STEADY);
        if until > deadline {
            return Err(self.start_error(&format!(
                "died {failures} times; the next attempt is in {} ms; check its command and its log",
                until.saturating_duration_since(Instant::now()).as_millis()
            )));
        }
        tokio::time::sleep_until(until.into()).await;
        Ok(())
    }

    async fn start(self: &Arc<Self>, deadline: Instant) -> Result<(Arc<Child>, Agreed)> {
        let limit =
            deadline.min(Instant::now() + Duration::from_millis(self.spec.start_timeout_ms));
        let child = Child::spawn(&self.spec, &self.shared, self.server.clone())?;
        match self.agree(&child, limit, self.spec.era).await {
            // Some legacy servers die of a request before initialize: ask a fresh one the old way.
            Err(Error::ServerCrashed { .. }) if self.spec.era == EraSpec::Auto => {
                let child = Child::spawn(&self.spec, &self.shared, self.server.clone())?;
                self.agree(&child, limit, EraSpec::Legacy)
                    .await
                    .map(|agreed| (child, agreed))
            }
            outcome => outcome.map(|agreed| (child, agreed)),
        }
        .map_err(|error| Error::ServerStart {
            message: error.message(),
            server: self.spec.name.clone(),
        })
    }

    async fn agree(&self, child: &Arc<Child>, deadline: Instant, era: EraSpec) -> Result<Agreed> {
        let mut started = Started(Some(child));
        let agreed = self.converse(child, deadline, era).await?;
        started.0 = None;
        Ok(agreed)
    }

    async fn converse(
        &self,
        child: &Arc<Child>,
        deadline: Instant,
        era: EraSpec,
    ) -> Result<Agreed> {
        let silent = || {
            self.start_error(&format!(
            "did not say who it is within {} ms; check that it is an MCP server, or raise startTimeoutMs",
            self.spec.start_timeout_ms
        ))
        };
        let (discover_params, initialize_params) =
            (discovery::discover_params(), discovery::initialize_params());
        let mut discover = None;
        if era != EraSpec::Legacy {
            let mut asked = Box::pin(child.request("server/discover", &discover_params));
            let patience = if era == EraSpec::Modern {
                deadline
            } else {
                deadline.min(Instant::now() + SILENCE)
            };
            match tokio::time::timeout_at(patience.into(), &mut asked).await {
                Ok(answer) => match self.verdict(&answer?, era)? {
                    Some(agreed) => return Ok(agreed),
                    None => drop(asked),
                },
                Err(_) if era == EraSpec::Modern => return Err(silent()),
                Err(_) => discover = Some(asked),
            }
        }
        let mut initialize = Box::pin(child.request("initialize", &initialize_params));
        let answer = loop {
            let late = async {
                match discover.as_mut() {
                    Some(asked) => asked.await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                answer = &mut initialize => break answer?,
                answer = late => {
                    discover = None;
                    if let Ok(answer) = answer && let Ok(Some(agreed)) = self.verdict(&answer, era) {
                        return Ok(agreed);
                    }
                }
                () = tokio::time::sleep_until(deadline.into()) => return Err(silent()),
            }
        };
        let result = answer.map_err(|fault| {
            self.start_error(&format!(
                "refused initialize ({}); check that it is an MCP server",
                fault.message
            ))
        })?;
        let agreed = discovery::read_initialize(&result, &self.spec.name)?;
        child.send_line(b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}");
        Ok(agreed)
    }

    fn verdict(
        &self,
        answer: &Result<Bytes, crate::error::RemoteFault>,
        era: EraSpec,
    ) -> Result<Option<Agreed>> {
        match discovery::judge(answer) {
            Verdict::Modern(agreed) => Ok(Some(agreed)),
            Verdict::Legacy if era == EraSpec::Modern => Err(self.start_error(
                "does not answer server/discover as a modern server; set era to auto",
            )),
            Verdict::Legacy => Ok(None),
            Verdict::Stranger(why) => Err(self.start_error(&format!(
                "agrees on no MCP revision ({why}); update it, or set era"
            ))),
        }
    }

    fn gone(&self) -> Error {
        Error::ManagerClosed {
            message: format!(
                "this instance of server '{}' is being removed; call again",
                self.spec.name
            ),
        }
    }

    fn start_error(&self, what: &str) -> Error {
        Error::ServerStart {
            message: format!("server '{}' {what}", self.spec.name),
            server: self.spec.name.clone(),
        }
    }

    /// One call; see [`super::Link::call`].
    pub(crate) async fn call(self: &Arc<Self>, outgoing: Outgoing<'_>) -> Result<Bytes> {
        let (child, agreed) = self.live(outgoing.deadline).await?;
        let params = hop_params(
            outgoing.params,
            agreed.era == Era::Modern,
            outgoing.caller.capabilities,
        )?;
        child.call(outgoing, &params).await
    }

    /// Ends its process; none is started any more.
    pub(crate) async fn close(&self) {
        self.closed.store(true, Relaxed);
        let current = lock(&self.current).take();
        if let Some(current) = current {
            current.child.shutdown().await;
        }
    }
}
