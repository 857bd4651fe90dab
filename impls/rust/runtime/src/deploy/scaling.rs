//! A change of the number of instances of the revision that serves.
//!
//! The rule: new instances get calls when all of them have passed the gate, or none is kept; the last slots are drained
//! first.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::work::aborted;
use super::{gate, messages};
use crate::error::{Error, Result};
use crate::upstream::{Instance, Revision, Server};

pub(super) async fn run(
    server: &Arc<Server>,
    count: usize,
    abort: &mut watch::Receiver<bool>,
) -> Result<()> {
    let revision = Arc::clone(&server.fleet().current);
    let before = revision.room();
    if count > before {
        revision.resize(count);
        let outcome = tokio::select! {
            outcome = grow(server, &revision, before..count) => outcome,
            () = aborted(abort) => Err(not_scaled(server, "it was aborted; scale again when you want it")),
        };
        match outcome {
            Ok(new) => new.iter().for_each(|new| server.open(&revision, new)),
            Err(error) => {
                leave(server, &revision, before, Duration::ZERO).await;
                return Err(error);
            }
        }
    } else if count < before {
        let drain = Duration::from_millis(revision.spec.deploy.drain_ms);
        leave(server, &revision, count, drain).await;
    }
    Ok(())
}

async fn grow(
    server: &Arc<Server>,
    revision: &Arc<Revision>,
    slots: std::ops::Range<usize>,
) -> Result<Vec<Arc<Instance>>> {
    let failed = |error: Error| {
        not_scaled(
            server,
            &format!("gate start: {error}; fix it and scale again"),
        )
    };
    let mut gates = JoinSet::new();
    let mut new = Vec::new();
    for slot in slots {
        let instance = match server.add(revision, slot) {
            Ok(instance) => instance,
            Err(error @ Error::StorageExhausted { .. }) => return Err(error),
            Err(error) => return Err(failed(error)),
        };
        new.push(Arc::clone(&instance));
        let spec = Arc::clone(&revision.spec);
        gates.spawn(async move { gate::pass(&spec, &instance).await });
    }
    let patience = revision.spec.deploy.gate_timeout_ms;
    let all = async {
        while let Some(passed) = gates.join_next().await {
            passed.unwrap_or_else(|error| Err(Error::internal(format!("{error}; report this"))))?;
        }
        Ok(())
    };
    match tokio::time::timeout(Duration::from_millis(patience), all).await {
        Ok(outcome) => outcome.map_err(failed)?,
        Err(_) => {
            return Err(not_scaled(
                server,
                &format!(
                    "gate health: not every new instance was healthy within {patience} ms; look at the server, or raise deploy.gateTimeoutMs"
                ),
            ));
        }
    }
    Ok(new)
}

/// Drains and closes everybody from slot `from` on, and gives up the slots.
async fn leave(server: &Arc<Server>, revision: &Arc<Revision>, from: usize, drain: Duration) {
    let mut leaving = JoinSet::new();
    for instance in revision.present() {
        if instance.index >= from && server.retire(revision, &instance) {
            let (server, revision) = (Arc::clone(server), Arc::clone(revision));
            leaving.spawn(
                async move { gate::drain(&server, &revision, &instance, drain, None).await },
            );
        }
    }
    while leaving.join_next().await.is_some() {}
    revision.resize(from);
}

fn not_scaled(server: &Server, why: &str) -> Error {
    let name = server.name();
    messages::failed(name, format!("server '{name}' was not scaled: {why}"))
}
