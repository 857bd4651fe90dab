//! What the manager agreed on with one URL: the era, and with a legacy server a session of its own.
//!
//! The rule: callers share one attempt; whoever waited for it takes what it brought instead of trying again.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use super::{Head, HttpLink, Pipe};
use crate::clock::lock;
use crate::config::EraSpec;
use crate::error::{Error, Result};
use crate::translate::MODERN;
use crate::upstream::dedicated::PLAIN;
use crate::upstream::discovery::{self, Agreed, Verdict};
use crate::upstream::session::UpstreamSession;

impl HttpLink {
    /// The agreement; finds it out first if nobody has. Callers share one attempt.
    pub(crate) async fn ready(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Agreed>> {
        if let Some(agreed) = self.agreed.load_full()
            && !self.is_cut()
        {
            return Ok(agreed);
        }
        Box::pin(self.prepare(deadline)).await
    }

    async fn prepare(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Agreed>> {
        let limit = deadline.min(Instant::now() + self.start_timeout);
        let _one = self.preparing.lock().await;
        if let Some(agreed) = self.agreed.load_full()
            && !self.is_cut()
        {
            return Ok(agreed);
        }
        let agreed = match self.era {
            _ if self.is_pipe() => None,
            EraSpec::Legacy | EraSpec::Sse => None,
            EraSpec::Auto | EraSpec::Modern => match self.discover(limit).await? {
                Verdict::Modern(agreed) => Some(agreed),
                Verdict::Legacy if self.era == EraSpec::Auto => None,
                Verdict::Legacy => {
                    return Err(
                        self.no_era("it does not answer server/discover as a modern server")
                    );
                }
                Verdict::Stranger(why) => return Err(self.no_era(&why)),
            },
        };
        let agreed = if let Some(agreed) = agreed {
            agreed
        } else {
            self.greet(limit).await?
        };
        let agreed = Arc::new(agreed);
        self.agreed.store(Some(Arc::clone(&agreed)));
        self.shared.events.changed();
        self.poke();
        self.pool.start();
        Ok(agreed)
    }

    /// The handshake of the legacy era: in a session, or over the older transport if that is refused.
    async fn greet(self: &Arc<Self>, limit: Instant) -> Result<Agreed> {
        if !self.is_pipe() && self.era != EraSpec::Sse {
            self.refusal.store(0, Relaxed);
            match UpstreamSession::open(self, PLAIN, limit).await {
                Ok((session, agreed)) => {
                    self.session.store(Some(Arc::new(session)));
                    return Ok(agreed);
                }
                Err(error) => {
                    // 2025-11-25 transports, "Backwards Compatibility".
                    if !(400..500).contains(&self.refusal.load(Relaxed)) {
                        return Err(error);
                    }
                    let Some((pipe, agreed)) = Box::pin(self.open_pipe(limit)).await? else {
                        return Err(error);
                    };
                    self.keep_pipe(&pipe);
                    return Ok(agreed);
                }
            }
        }
        let Some((pipe, agreed)) = Box::pin(self.open_pipe(limit)).await? else {
            let gone = self.violation("offers no stream of events");
            return Err(self.start_error(&gone));
        };
        self.keep_pipe(&pipe);
        Ok(agreed)
    }

    fn keep_pipe(&self, pipe: &Arc<Pipe>) {
        self.is_pipe.store(true, Relaxed);
        let closed = self.closed.load(Relaxed);
        let old = lock(&self.pipe).replace(Arc::clone(pipe));
        if let Some(old) = old {
            old.close();
        }
        if closed {
            pipe.close();
        }
    }

    /// The open pipe; opened now if it is not.
    pub(super) async fn prepared_pipe(self: &Arc<Self>, deadline: Instant) -> Result<Arc<Pipe>> {
        self.ready(deadline).await?;
        self.pipe()
            .ok_or_else(|| self.crashed(&std::io::ErrorKind::UnexpectedEof.into()))
    }

    /// All came on one stream, and that is gone.
    fn is_cut(&self) -> bool {
        self.is_pipe() && self.pipe().is_none()
    }

    /// The handshake was answered with this status.
    pub(crate) fn refused(&self, status: u16) {
        self.refusal.store(status, Relaxed);
    }

    async fn discover(self: &Arc<Self>, deadline: Instant) -> Result<Verdict> {
        let head = Head {
            version: Some(MODERN),
            method: Some("server/discover"),
            ..Head::default()
        };
        let answer = self
            .roundtrip(
                &head,
                "server/discover",
                &discovery::discover_params(),
                deadline,
            )
            .await;
        match answer {
            Ok((answer, _)) => match self.read(&answer) {
                Ok(read) => Ok(discovery::judge(&read)),
                Err(_) => Ok(Verdict::Legacy), // no JSON-RPC in it: basic/versioning says fall back
            },
            Err(error @ Error::ServerStart { .. }) => Err(error),
            Err(error) => Err(self.start_error(&error)),
        }
    }

    /// Opens a new session of the manager's own, unless somebody else just did.
    pub(crate) async fn renew(
        self: &Arc<Self>,
        old: Option<&UpstreamSession>,
        deadline: Instant,
    ) -> Result<()> {
        let _one = self.preparing.lock().await;
        let current = self.session.load_full();
        if current.as_deref().and_then(|session| session.id.as_deref())
            != old.and_then(|session| session.id.as_deref())
        {
            return Ok(());
        }
        let (session, _) = UpstreamSession::open(self, PLAIN, deadline).await?;
        self.session.store(Some(Arc::new(session)));
        self.poke();
        Ok(())
    }

    /// Whoever watches the server looks again.
    pub(super) fn poke(&self) {
        if let Some(server) = self.server.upgrade() {
            server.interest.poke();
        }
    }

    fn no_era(&self, why: &str) -> Error {
        Error::ServerStart {
            message: format!(
                "server '{}' at {}: no MCP revision could be agreed on ({why}); check the url, or set era",
                self.name, self.url
            ),
            server: self.name.clone(),
        }
    }

    pub(crate) fn start_error(&self, error: &Error) -> Error {
        Error::ServerStart {
            message: error.message(),
            server: self.name.clone(),
        }
    }
}
