//! Sessions with legacy HTTP servers: opened by `initialize`, named by `Mcp-Session-Id`, ended by DELETE.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::beside::Beside;
use super::dedicated::{self, Guise, Level};
use super::discovery::{self, Agreed};
use super::http::{Head, HttpLink};
use crate::error::{Error, Result};
use crate::translate::session;

/// One session with one instance. Some servers give no id: then nothing ties requests together.
#[derive(Debug)]
pub(crate) struct UpstreamSession {
    pub(crate) id: Option<String>,
    pub(crate) version: String,
    pub(crate) level: Level,
    pub(crate) beside: Beside,
}

impl UpstreamSession {
    /// `initialize`, then `notifications/initialized`.
    pub(crate) async fn open(
        link: &Arc<HttpLink>,
        guise: Guise<'_>,
        deadline: Instant,
    ) -> Result<(Self, Agreed)> {
        let params = guise.params();
        let (answer, _) = match link
            .roundtrip(&Head::default(), "initialize", &params, deadline)
            .await
        {
            Ok(done) => done,
            Err(error @ Error::ServerStart { .. }) => return Err(error),
            Err(error) => return Err(link.start_error(&error)),
        };
        link.refused(answer.status);
        let result = match link.read(&answer) {
            Ok(Ok(result)) => result,
            Ok(Err(fault)) => {
                return Err(Error::ServerStart {
                    message: format!(
                        "server '{}' at {} refused initialize ({}); check that the url is an MCP endpoint",
                        link.name(),
                        link.url(),
                        fault.message
                    ),
                    server: link.name().to_owned(),
                });
            }
            Err(error) => return Err(link.start_error(&error)),
        };
        let agreed = discovery::read_initialize(&result, link.name())?;
        let id = answer.session.filter(|id| session::is_id(id.as_bytes()));
        let session = Self {
            id,
            version: agreed.version.clone(),
            level: Level::default(),
            beside: Beside::default(),
        };
        let head = Head {
            version: Some(&session.version),
            session: session.id.as_deref(),
            ..Head::default()
        };
        let note = b"{\"jsonrpc\":\"2.0\",\"method\":\"notifications/initialized\"}";
        link.exchange(&head, note, None, deadline)
            .await
            .map_err(|error| link.start_error(&error))?;
        Ok((session, agreed))
    }

    /// Tells the server from which level on it should log here. A failure is its own, and it logs as before.
    pub(crate) async fn set_level(&self, link: &Arc<HttpLink>, level: &str, deadline: Instant) {
        if !self.level.differs(level)
            || !link.agreed().is_some_and(|agreed| agreed.offers("logging"))
        {
            return;
        }
        let head = Head {
            version: Some(&self.version),
            session: self.id.as_deref(),
            ..Head::default()
        };
        let params = dedicated::level_params(level);
        let told = link.roundtrip(&head, "logging/setLevel", &params, deadline);
        if let Ok((answer, _)) = told.await
            && matches!(link.read(&answer), Ok(Ok(_)))
        {
            self.level.is(level);
        }
    }

    /// Tells the server that the session is over; what it answers does not matter.
    pub(crate) async fn end(&self, link: &HttpLink) {
        self.beside.end();
        let Some(id) = &self.id else { return };
        let mut request = Vec::new();
        link.write_bare_head(&mut request, "DELETE", id, &self.version);
        let patience = Duration::from_millis(500);
        let Ok(mut lease) = link.pool.acquire(Instant::now() + patience).await else {
            return;
        };
        let conn = lease.conn();
        let work = async {
            crate::wire::io::write(&mut conn.stream, &request).await?;
            crate::wire::io::fill(&mut conn.stream, &mut conn.buffer).await
        };
        let _ = tokio::time::timeout(patience, work).await;
    }
}
