//! A session over HTTP that one call has for itself.
//!
//! The rule: what was given up is told to the server before its session ends.

use std::sync::Arc;
use std::time::Instant;

use super::HttpLink;
use crate::error::Result;
use crate::gateway::asking;
use crate::upstream::Caller;
use crate::upstream::beside;
use crate::upstream::dedicated::{Leased, Line};
use crate::upstream::session::UpstreamSession;

impl Leased {
    pub(super) fn session(&self) -> Option<Arc<UpstreamSession>> {
        match &self.line {
            Some(Line::Http(_, session)) => Some(Arc::clone(session)),
            _ => None,
        }
    }
}

impl HttpLink {
    /// A session opened as this caller, which logs as it wants.
    pub(super) async fn lease(
        self: &Arc<Self>,
        caller: &Caller<'_>,
        deadline: Instant,
    ) -> Result<Leased> {
        let mut leased = self.dedicated.lease(caller, deadline).await?;
        let session = match leased.session() {
            Some(session) => session,
            None => self.renew_lease(&mut leased, caller, deadline).await?,
        };
        if let Some(level) = caller.level {
            session.set_level(self, level, deadline).await;
        }
        Ok(leased)
    }

    /// Opens a new session in place of the one that the server forgot.
    pub(super) async fn renew_lease(
        self: &Arc<Self>,
        leased: &mut Leased,
        caller: &Caller<'_>,
        deadline: Instant,
    ) -> Result<Arc<UpstreamSession>> {
        let (session, _) = UpstreamSession::open(self, caller.guise(), deadline).await?;
        let session = Arc::new(session);
        leased.replace(Line::Http(Arc::downgrade(self), Arc::clone(&session)));
        if asking::is_asked(caller.capabilities) {
            Box::pin(beside::listen(self, &session, None)).await;
        }
        Ok(session)
    }

    /// Tells the server that nobody waits for `id` any more; then the session that was leased for it ends.
    pub(super) fn give_up(
        self: &Arc<Self>,
        session: Arc<UpstreamSession>,
        id: u64,
        leased: Option<Leased>,
    ) {
        let note = format!(
            "{{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\",\"params\":{{\"requestId\":{id}}}}}"
        );
        let link = Arc::clone(self);
        self.shared.handle.spawn(async move {
            link.send_on(&session, note.as_bytes()).await;
            drop(leased);
        });
    }
}
