//! What a server shows of itself: counters and descriptions.
//!
//! The rule: a snapshot changes nothing and waits for nobody.

use std::sync::atomic::Ordering::Relaxed;

use super::Server;
use crate::clock::{lock, now_ns};
use crate::info::{CircuitState, InstanceInfo, ServerInfo, ServerState};
use crate::metrics::ServerCounters;
use crate::upstream::Link;

impl Server {
    pub(crate) fn counters(&self) -> ServerCounters {
        ServerCounters {
            requests: self.requests.load(Relaxed),
            errors: self.errors.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            connections: self.links.iter().map(Link::connections).sum::<usize>() as u64,
        }
    }

    pub(crate) fn info(&self) -> ServerInfo {
        let now = now_ns();
        let agreed = self.agreed();
        let instances = {
            let policy = lock(&self.policy);
            let describe = |(index, link): (usize, &Link)| {
                let circuit = circuit(policy.circuit(index, now));
                let (pid, url) = match link {
                    Link::Http(http) => (None, Some(http.url().to_owned())),
                    Link::Stdio(stdio) => (stdio.pid(), None),
                };
                InstanceInfo {
                    index,
                    state: match circuit {
                        CircuitState::Open => ServerState::Unhealthy,
                        CircuitState::HalfOpen => ServerState::Degraded,
                        CircuitState::Closed if link.agreed().is_some() => ServerState::Healthy,
                        CircuitState::Closed => self.state(),
                    },
                    circuit,
                    era: link.agreed().map(|agreed| agreed.era),
                    pid,
                    url,
                    connections: link.connections(),
                    in_flight: usize::try_from(policy.pending(index)).unwrap_or(usize::MAX),
                    ewma_ns: policy.ewma_ns(index),
                }
            };
            self.links.iter().enumerate().map(describe).collect()
        };
        ServerInfo {
            name: self.name().to_owned(),
            transport: self.spec.transport(),
            state: self.state(),
            era: agreed.as_ref().map(|agreed| agreed.era),
            protocol_version: agreed.as_ref().map(|agreed| agreed.version.clone()),
            server_name: agreed
                .as_ref()
                .and_then(|agreed| agreed.server_name.clone()),
            server_version: agreed
                .as_ref()
                .and_then(|agreed| agreed.server_version.clone()),
            capabilities: agreed
                .as_ref()
                .and_then(|agreed| agreed.capabilities.clone()),
            tags: self.spec.tags.clone(),
            instances,
            last_error: lock(&self.last_error).clone(),
        }
    }
}

fn circuit(core: crossfade_core::CircuitState) -> CircuitState {
    match core {
        crossfade_core::CircuitState::Closed => CircuitState::Closed,
        crossfade_core::CircuitState::Open => CircuitState::Open,
        crossfade_core::CircuitState::HalfOpen => CircuitState::HalfOpen,
    }
}
