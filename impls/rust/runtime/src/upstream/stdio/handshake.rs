//! The handshake with a child: `server/discover` first, `initialize` beside it if it is silent.
//!
//! The rule: a process whose handshake fails, or that nobody waits for any more, is ended.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::StdioLink;
use crate::config::EraSpec;
use crate::error::{Error, RemoteFault, Result};
use crate::upstream::child::Child;
use crate::upstream::dedicated::{Guise, PLAIN};
use crate::upstream::discovery::{self, Agreed, Verdict};

/// How long a server may think about `server/discover` before `initialize` is tried beside it.
const SILENCE: Duration = Duration::from_secs(2);

/// A process that nobody has yet: it ends if its start fails, or if nobody waits for it any more.
struct Started<'a>(Option<&'a Arc<Child>>);

impl Drop for Started<'_> {
    fn drop(&mut self) {
        if let Some(child) = self.0 {
            child.kill();
        }
    }
}

impl StdioLink {
    pub(super) async fn agree(
        &self,
        child: &Arc<Child>,
        deadline: Instant,
        era: EraSpec,
    ) -> Result<Agreed> {
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
        let (discover_params, initialize_params) = (discovery::discover_params(), PLAIN.params());
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
                Err(_) if era == EraSpec::Modern => return Err(self.silent()),
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
                () = tokio::time::sleep_until(deadline.into()) => return Err(self.silent()),
            }
        };
        self.initialized(child, answer)
    }

    /// Shakes hands with a legacy server as somebody.
    pub(super) async fn introduce(
        &self,
        child: &Arc<Child>,
        guise: Guise<'_>,
        deadline: Instant,
    ) -> Result<()> {
        let mut started = Started(Some(child));
        let params = guise.params();
        let asked = child.request("initialize", &params);
        let answer = tokio::time::timeout_at(deadline.into(), asked)
            .await
            .map_err(|_| self.silent())??;
        self.initialized(child, answer)?;
        started.0 = None;
        Ok(())
    }

    fn silent(&self) -> Error {
        self.start_error(&format!(
            "did not say who it is within {} ms; check that it is an MCP server, or raise startTimeoutMs",
            self.spec.start_timeout_ms
        ))
    }

    fn initialized(&self, child: &Child, answer: Result<Bytes, RemoteFault>) -> Result<Agreed> {
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

    fn verdict(&self, answer: &Result<Bytes, RemoteFault>, era: EraSpec) -> Result<Option<Agreed>> {
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
}
