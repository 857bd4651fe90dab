//! What a server shows of itself: counters and descriptions.
//!
//! The rule: a snapshot changes nothing. The server itself is read without a lock; what its instances show is copied
//! under the locks of their row and of their links, which nobody holds for longer than a choice or a count takes.

use std::sync::atomic::Ordering::Relaxed;

use super::Server;
use crate::clock::now_ns;
use crate::info::ServerInfo;
use crate::metrics::ServerCounters;
use crate::upstream::Link;

impl Server {
    pub(crate) fn counters(&self) -> ServerCounters {
        let counts = &self.traffic.counts;
        ServerCounters {
            retries: counts.retries.load(Relaxed),
            hedges: counts.hedges.load(Relaxed),
            hedged_wins: counts.hedged_wins.load(Relaxed),
            rate_limited: counts.rate_limited.load(Relaxed),
            shed: counts.shed.load(Relaxed),
            queued: counts.queued.load(Relaxed),
            cache_hits: self.reads.hits.load(Relaxed),
            cache_misses: self.reads.misses.load(Relaxed),
            coalesced: self.reads.coalesced.load(Relaxed),
            requests: self.requests.load(Relaxed),
            errors: self.errors.load(Relaxed),
            rejected: self.rejected.load(Relaxed),
            restarts: self.restarts.load(Relaxed),
            in_flight: self.in_flight.load(Relaxed),
            connections: self
                .fleet
                .load()
                .links()
                .iter()
                .map(Link::connections)
                .sum::<usize>() as u64,
        }
    }

    pub(crate) fn info(&self) -> ServerInfo {
        let now = now_ns();
        let agreed = self.agreed();
        let fleet = self.fleet.load();
        let instances = fleet
            .revisions()
            .flat_map(|revision| revision.describe(now, self.state()))
            .collect();
        let spec = &fleet.current.spec;
        ServerInfo {
            name: self.name().to_owned(),
            transport: spec.transport(),
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
            tags: spec.tags.clone(),
            instances,
            last_error: self.last_error.load().as_deref().cloned(),
        }
    }
}
