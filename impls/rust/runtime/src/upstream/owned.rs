//! A request that borrows nothing, for work that outlives whoever asked for it.

use std::sync::Arc;
use std::time::Instant;

use super::{Caller, Outgoing};
use crate::gateway::sessions::Session;
use crate::gateway::voice::Voice;
use crate::principal::Principal;

#[derive(Debug)]
pub(crate) struct Owned {
    method: Box<str>,
    params: Box<[u8]>,
    name: Option<Box<str>>,
    capabilities: Box<[u8]>,
    principal: Option<String>,
    session: Option<Arc<Session>>,
    alone: bool,
    info: Option<Box<[u8]>>,
    level: Option<Box<str>>,
    voice: Option<Arc<Voice>>,
    lines: Box<[u8]>,
    deadline: Instant,
}

impl Owned {
    /// Giving it up tells the server, always.
    pub(crate) fn new(outgoing: &Outgoing<'_>, voice: Option<Arc<Voice>>) -> Self {
        let caller = &outgoing.caller;
        let manager = matches!(caller.principal, Principal::Manager);
        Self {
            method: outgoing.method.into(),
            params: outgoing.params.into(),
            name: outgoing.name.map(Into::into),
            capabilities: caller.capabilities.into(),
            principal: (!manager).then(|| caller.principal.text().into_owned()),
            session: caller.session.cloned(),
            alone: caller.alone,
            info: caller.info.map(Into::into),
            level: caller.level.map(Into::into),
            voice,
            lines: outgoing.lines.into(),
            deadline: outgoing.deadline,
        }
    }

    pub(crate) fn outgoing(&self) -> Outgoing<'_> {
        let principal = self.principal.as_deref();
        Outgoing {
            method: &self.method,
            params: &self.params,
            name: self.name.as_deref(),
            caller: Caller {
                capabilities: &self.capabilities,
                cancels: None,
                principal: principal.map_or(Principal::Manager, Principal::Named),
                session: self.session.as_ref(),
                alone: self.alone,
                info: self.info.as_deref(),
                level: self.level.as_deref(),
                voice: self.voice.as_ref(),
            },
            lines: &self.lines,
            deadline: self.deadline,
        }
    }
}
