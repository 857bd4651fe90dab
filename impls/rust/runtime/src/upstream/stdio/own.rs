//! Children that one client has for itself, and the turn of those who want log messages of a shared one.
//!
//! The rules: such a child is started as the client that it is for, and what becomes of it is that client's affair: it
//! changes neither the state of the server nor what is known of it. It ends with whoever has it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use super::StdioLink;
use crate::clock::lock;
use crate::error::{Error, Result};
use crate::gateway::sessions::Session;
use crate::upstream::child::Child;
use crate::upstream::dedicated::{self, Guise, Line, OwnChild};
use crate::upstream::{Caller, Outgoing};

impl Caller<'_> {
    /// Whether a shared child will not do: it can be asked, or wants to choose what is logged.
    pub(super) fn wants_own_child(&self) -> bool {
        self.alone || self.session.is_some_and(|session| session.talks())
    }
}

impl StdioLink {
    /// One call to a child that nobody else talks to.
    pub(super) async fn call_alone(
        self: &Arc<Self>,
        outgoing: Outgoing<'_>,
        params: &[u8],
    ) -> Result<Bytes> {
        let (caller, deadline) = (&outgoing.caller, outgoing.deadline);
        if let Some(session) = caller.session {
            let own = session.open_child(self, deadline).await?;
            return own.child.call(outgoing, params).await;
        }
        let mut leased = self.dedicated.lease(caller, deadline).await?;
        let own = if let Some(Line::Child(own)) = &leased.line {
            Arc::clone(own)
        } else {
            let own = self.start_own(caller.guise(), None, deadline).await?;
            leased.replace(Line::Child(Arc::clone(&own)));
            own
        };
        if let Some(level) = caller.level {
            self.set_level(&own, level, deadline).await;
        }
        let outcome = own.child.call(outgoing, params).await;
        drop(own);
        if matches!(outcome, Ok(_) | Err(Error::Remote { .. })) {
            leased.clean();
        }
        outcome
    }

    /// One call to a shared child, alone among those who want log messages.
    pub(super) async fn call_logged(
        &self,
        child: &Arc<Child>,
        outgoing: Outgoing<'_>,
        params: &[u8],
    ) -> Result<Bytes> {
        let waiting = self.logging.lock();
        let Ok(_turn) = tokio::time::timeout_at(outgoing.deadline.into(), waiting).await else {
            return Err(Error::PoolTimeout {
                message: format!(
                    "server '{}': other calls that want log messages took too long; call again, or leave out logLevel",
                    self.spec.name
                ),
                server: self.spec.name.clone(),
            });
        };
        let _heard = outgoing.caller.voice.map(|voice| child.heard_by(voice));
        child.call(outgoing, params).await
    }

    /// A child of a client that has a session here.
    pub(crate) async fn start_guest(
        self: &Arc<Self>,
        session: &Session,
        deadline: Instant,
    ) -> Result<Arc<OwnChild>> {
        let place = self.dedicated.place(deadline).await?;
        self.dedicated.make_way();
        let own = self
            .start_own(session.guise(), Some(place), deadline)
            .await?;
        if let Some(level) = session.level() {
            self.set_level(&own, &level, deadline).await;
        }
        Ok(own)
    }

    async fn start_own(
        self: &Arc<Self>,
        guise: Guise<'_>,
        place: Option<OwnedSemaphorePermit>,
        deadline: Instant,
    ) -> Result<Arc<OwnChild>> {
        let limit =
            deadline.min(Instant::now() + Duration::from_millis(self.spec.start_timeout_ms));
        let child = self.spawn_own()?;
        self.introduce(&child, guise, limit)
            .await
            .map_err(|error| Error::ServerStart {
                message: error.message(),
                server: self.spec.name.clone(),
            })?;
        let own = OwnChild::new(child, place);
        let mut guests = lock(&self.guests);
        guests.retain(|guest| guest.strong_count() > 0);
        guests.push(Arc::downgrade(&own.child));
        drop(guests);
        if self.is_closed() {
            return Err(self.gone());
        }
        Ok(own)
    }

    /// Tells a child from which level on it should log. A failure is its own, and it logs as before.
    pub(crate) async fn set_level(&self, own: &OwnChild, level: &str, deadline: Instant) {
        let offers = self.agreed().is_some_and(|agreed| agreed.offers("logging"));
        if !offers || !own.level.differs(level) {
            return;
        }
        let params = dedicated::level_params(level);
        let told = own.child.request("logging/setLevel", &params);
        if let Ok(Ok(Ok(_))) = tokio::time::timeout_at(deadline.into(), told).await {
            own.level.is(level);
        }
    }

    /// Ends the children of single clients, all at once, and waits for those that end already.
    pub(super) async fn end_guests(&self) {
        let guests = std::mem::take(&mut *lock(&self.guests));
        let mut ending = JoinSet::new();
        for child in guests.iter().filter_map(std::sync::Weak::upgrade) {
            ending.spawn_on(async move { child.shutdown().await }, &self.shared.handle);
        }
        while ending.join_next().await.is_some() {}
    }
}
