//! The way of one request: route, rename, call, and the headers that a tool wants of its arguments.
//!
//! The rule: a call is sent again from here only if the server refused it for want of those headers, and never in a
//! loop.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::{Inner, ListKind, Target};
use crate::annotations;
use crate::error::{Error, Result};
use crate::listing;
use crate::principal::Principal;
use crate::route;
use crate::translate;
use crate::upstream::catalog::Index;
use crate::upstream::{Caller, Outgoing, Server};

impl Inner {
    pub(crate) async fn request(
        &self,
        method: &str,
        target: &Target,
        params: &[u8],
        timeout: Option<Duration>,
        caller: Caller<'_>,
    ) -> Result<Bytes> {
        let outcome = self
            .while_open(self.send(method, target, params, timeout, caller))
            .await;
        if let Err(error) = &outcome {
            self.shared.metrics.error(error.code());
        }
        outcome
    }

    /// Does what was called in process, unless the manager is closed meanwhile: then it ends at once.
    pub(super) async fn while_open<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        // Made before the work looks whether the manager is open, so that no closing is missed.
        let closing = self.closing.notified();
        tokio::select! {
            biased;
            outcome = work => outcome,
            () = closing => Err(Error::ManagerClosed {
                message: "the manager was closed while this call was in flight; call before you leave it".to_owned(),
            }),
        }
    }

    async fn send(
        &self,
        method: &str,
        target: &Target,
        params: &[u8],
        timeout: Option<Duration>,
        caller: Caller<'_>,
    ) -> Result<Bytes> {
        self.check_open()?;
        let routed = match route::quick(self, method, target, params)? {
            Some(routed) => routed,
            None => Box::pin(route::search(self, method, target, params)).await?,
        };
        let _pass = routed
            .server
            .let_in(method, routed.name.as_deref(), caller.principal)?;
        let mut body = Vec::new();
        let params = match &routed.edit {
            Some(edit) => {
                translate::splice(params, std::slice::from_ref(edit), &mut body);
                &body
            }
            None => params,
        };
        let outgoing = Outgoing {
            method,
            params,
            name: routed.name.as_deref(),
            caller,
            lines: b"",
            deadline: routed.server.deadline(timeout),
        };
        self.ask(&routed.server, outgoing).await
    }

    /// Calls a server, with the headers that it wants of a tool's arguments. They are learnt when it first misses them
    /// (streamable-http, "Client Behavior").
    pub(crate) async fn ask(&self, server: &Arc<Server>, outgoing: Outgoing<'_>) -> Result<Bytes> {
        let known = server
            .catalog
            .get(&server.spec())
            .and_then(|index| lines_for(&index, &outgoing));
        let first = Outgoing {
            lines: known.as_deref().unwrap_or_default(),
            ..outgoing
        };
        let outcome = server.answer(first).await;
        match &outcome {
            Err(Error::Remote { fault, .. })
                if fault.code == -32020 && known.is_none() && outgoing.method == "tools/call" =>
            {
                let index = Box::pin(listing::index(server, self.gateway.prefix)).await;
                match lines_for(&index, &outgoing) {
                    Some(lines) => {
                        server
                            .call(Outgoing {
                                lines: &lines,
                                ..outgoing
                            })
                            .await
                    }
                    None => outcome,
                }
            }
            _ => outcome,
        }
    }

    /// Items of one kind; a failing server is left out, and named, unless it is the one that was asked.
    pub(crate) async fn collect(
        &self,
        kind: ListKind,
        server: Option<&str>,
        capabilities: &[u8],
        principal: Principal<'_>,
    ) -> Result<listing::Listing> {
        self.check_open()?;
        let prefix = self.gateway.prefix;
        if let Some(name) = server {
            let server = self.registry.get(name)?;
            let caller = Caller {
                capabilities,
                principal,
                ..Caller::default()
            };
            let items = listing::read(&server, kind, prefix, caller, server.deadline(None))
                .await
                .inspect_err(|error| {
                    self.shared.metrics.error(error.code());
                })?;
            return Ok(listing::Listing {
                items,
                ..listing::Listing::default()
            });
        }
        let servers = self.registry.load().servers.clone();
        Ok(listing::read_all(&servers, kind, prefix, &capabilities.into(), principal).await)
    }
}

/// The `Mcp-Param-*` lines of a tool call, if its tool has annotations.
fn lines_for(index: &Index, outgoing: &Outgoing<'_>) -> Option<Vec<u8>> {
    if index.annotated.is_empty() || outgoing.method != "tools/call" {
        return None;
    }
    let annotations = index.annotated.get(outgoing.name?)?;
    Some(annotations::lines(annotations, outgoing.params))
}
