//! One configured pool and its claims, by server and index; what fits, and what does not.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::{StorageClaim, StorageClass, StoragePoolSpec};
use crate::error::{Error, Result};

/// What a pool knows of a claim; not held: kept for whoever comes next. `used` is as of the last look, which did not
/// see everything if `cut`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) bytes: u64,
    pub(super) held: bool,
    pub(super) used: u64,
    pub(super) over: bool,
    pub(super) cut: bool,
}

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) spec: StoragePoolSpec,
    pub(super) root: PathBuf,
    /// By server and index.
    pub(super) claims: BTreeMap<(String, u32), Entry>,
    pub(super) watched: bool,
}

impl Pool {
    pub(super) fn new(spec: StoragePoolSpec) -> Self {
        Self {
            root: std::path::absolute(&spec.path).unwrap_or_else(|_| PathBuf::from(&spec.path)),
            claims: BTreeMap::new(),
            watched: false,
            spec,
        }
    }

    pub(super) fn claimed(&self) -> u64 {
        self.claims.values().map(|entry| entry.bytes).sum()
    }

    fn of<'a>(&'a self, server: &'a str) -> impl Iterator<Item = (u32, &'a Entry)> {
        let first = (server.to_owned(), 0);
        let own = self.claims.range(first..);
        own.take_while(move |((name, _), _)| name == server)
            .map(|((_, index), entry)| (*index, entry))
    }

    /// What this server may claim: what nobody has, and what was kept for it.
    fn free_for(&self, server: &str) -> u64 {
        let kept = self.of(server).filter(|(_, entry)| !entry.held);
        let kept: u64 = kept.map(|(_, entry)| entry.bytes).sum();
        (self.spec.capacity_bytes + kept).saturating_sub(self.claimed())
    }

    /// The lowest one that is kept, or else the lowest that is free.
    pub(super) fn next_index(&self, server: &str) -> u32 {
        if let Some((index, _)) = self.of(server).find(|(_, entry)| !entry.held) {
            return index;
        }
        let taken = self.of(server).map(|(index, _)| index);
        // In order, so the first gap is where an index is not its own rank.
        let gap = taken.zip(0..).find(|(index, rank)| index != rank);
        gap.map_or_else(|| self.of(server).count(), |(_, rank)| rank as usize)
            .try_into()
            .unwrap_or(u32::MAX)
    }
}

pub(super) fn check(
    pools: &BTreeMap<StorageClass, Pool>,
    server: &str,
    claim: &StorageClaim,
    count: usize,
) -> Result<()> {
    let class = claim.storage_class.as_str();
    let exhausted = |message: String| Error::StorageExhausted {
        message,
        server: server.to_owned(),
    };
    let Some(pool) = pools.get(&claim.storage_class) else {
        let known: Vec<_> = pools.keys().map(|class| class.as_str()).collect();
        let known = if known.is_empty() {
            "none".to_owned()
        } else {
            known.join(", ")
        };
        return Err(exhausted(format!(
            "server '{server}' claims storage of class '{class}' and there is no such pool (configured: {known}); add one to storage, or claim another class"
        )));
    };
    let need = u128::from(claim.bytes) * count as u128;
    let free = pool.free_for(server);
    if need > u128::from(free) {
        return Err(exhausted(format!(
            "server '{server}' claims {need} bytes ({count} instances, {} each) of storage pool '{class}', which has {free} of {} left; claim less, undeploy something, or raise capacityBytes",
            claim.bytes, pool.spec.capacity_bytes
        )));
    }
    Ok(())
}
