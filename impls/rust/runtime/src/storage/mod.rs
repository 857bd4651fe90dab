//! The storage pools: who has claimed how much of them, the directory of each claim, and how much is really used.
//!
//! The rules: what is claimed never exceeds a pool's capacity; nothing outside of a pool is created, measured or deleted
//! (`place` follows no symbolic link below its root); and disks are walked on threads that may block, so much a time.

mod place;
mod pool;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use serde::Serialize;

use crate::clock::lock;
use crate::config::{StorageClaim, StorageClass, StoragePoolSpec};
use crate::error::{Error, Result};
use crate::events::EventKind;
use crate::upstream::Shared;
use place::Place;
use pool::{Entry, Pool, check};

/// One instance's part of a pool.
#[derive(Debug)]
pub(crate) struct Claim {
    class: StorageClass,
    place: Place,
    keep: bool,
}

impl Claim {
    /// Its directory.
    pub(crate) fn path(&self) -> String {
        self.place.path().to_string_lossy().into_owned()
    }
}

/// A storage pool, as `crossfade.impls.snapshots.StorageInfo`.
#[derive(Clone, Debug, Serialize)]
pub struct StorageInfo {
    pub storage_class: StorageClass,
    pub path: String,
    pub capacity_bytes: u64,
    pub claimed_bytes: u64,
    pub used_bytes: u64,
    pub claims: BTreeMap<String, u64>,
}

/// All pools of a manager.
#[derive(Debug)]
pub(crate) struct Storage {
    pools: Mutex<BTreeMap<StorageClass, Pool>>,
}

impl Storage {
    pub(crate) fn new(specs: &[StoragePoolSpec]) -> Self {
        let pools = specs.iter().cloned();
        Self {
            pools: Mutex::new(
                pools
                    .map(|spec| (spec.storage_class, Pool::new(spec)))
                    .collect(),
            ),
        }
    }

    /// Fails unless `count` more instances fit.
    pub(crate) fn check(&self, server: &str, claim: &StorageClaim, count: usize) -> Result<()> {
        check(&lock(&self.pools), server, claim, count)
    }

    /// A directory for one instance, taken up again if it was kept.
    pub(crate) fn claim(
        &self,
        shared: &Arc<Shared>,
        server: &str,
        wanted: &StorageClaim,
    ) -> Result<Claim> {
        let mut pools = lock(&self.pools);
        check(&pools, server, wanted, 1)?;
        let class = wanted.storage_class;
        let Some(pool) = pools.get_mut(&class) else {
            return Err(Error::internal(
                "a pool that was there is gone; report this",
            ));
        };
        let index = pool.next_index(server);
        let place = Place::new(&pool.root, server, index);
        place.make().map_err(|error| Error::ServerStart {
            message: format!(
                "server '{server}': its storage '{}' cannot be made ({error}); look at what is there, or at the pool's path",
                place.path().display()
            ),
            server: server.to_owned(),
        })?;
        let entry = Entry {
            bytes: wanted.bytes,
            held: true,
            used: 0,
            over: false,
        };
        pool.claims.insert((server.to_owned(), index), entry);
        if !std::mem::replace(&mut pool.watched, true) {
            let every = Duration::from_millis(pool.spec.check_interval_ms);
            let weak = Arc::downgrade(shared);
            shared.handle.spawn(look_after(weak, class, every));
        }
        Ok(Claim {
            class,
            place,
            keep: wanted.keep,
        })
    }

    /// Nobody uses it any more: it is kept for the server's next instance, or deleted with all that is in it. `None`
    /// does what the claim says.
    pub(crate) async fn release(&self, claim: Claim, keep: Option<bool>) {
        let key = claim.place.key();
        if keep.unwrap_or(claim.keep) {
            if let Some(pool) = lock(&self.pools).get_mut(&claim.class)
                && let Some(entry) = pool.claims.get_mut(&key)
            {
                entry.held = false;
            }
            return;
        }
        let place = claim.place;
        // A panic while deleting leaves files behind, and they are no longer counted either.
        let _ = tokio::task::spawn_blocking(move || place.remove()).await;
        if let Some(pool) = lock(&self.pools).get_mut(&claim.class) {
            pool.claims.remove(&key);
        }
    }

    /// Deletes what was kept for a server.
    pub(crate) async fn forget(&self, server: &str) {
        let kept: Vec<Claim> = {
            let mut pools = lock(&self.pools);
            let mut kept = Vec::new();
            for (class, pool) in pools.iter_mut() {
                for ((name, index), entry) in &mut pool.claims {
                    if name == server && !entry.held {
                        entry.held = true;
                        kept.push(Claim {
                            class: *class,
                            place: Place::new(&pool.root, server, *index),
                            keep: false,
                        });
                    }
                }
            }
            kept
        };
        for claim in kept {
            self.release(claim, Some(false)).await;
        }
    }

    /// What `Manager::storage` shows.
    pub(crate) fn info(&self) -> Vec<StorageInfo> {
        let pools = lock(&self.pools);
        let show = |pool: &Pool| {
            let mut claims = BTreeMap::new();
            for ((server, _), entry) in &pool.claims {
                *claims.entry(server.clone()).or_default() += entry.bytes;
            }
            StorageInfo {
                storage_class: pool.spec.storage_class,
                path: pool.root.to_string_lossy().into_owned(),
                capacity_bytes: pool.spec.capacity_bytes,
                claimed_bytes: pool.claimed(),
                used_bytes: pool.claims.values().map(|entry| entry.used).sum(),
                claims,
            }
        };
        pools.values().map(show).collect()
    }

    /// Notes what one claim uses; the bytes allowed, if it has just come to exceed them.
    fn measured(&self, class: StorageClass, place: &Place, used: u64) -> Option<u64> {
        let mut pools = lock(&self.pools);
        let entry = pools.get_mut(&class)?.claims.get_mut(&place.key())?;
        entry.used = used;
        let before = std::mem::replace(&mut entry.over, used > entry.bytes);
        (entry.over && !before).then_some(entry.bytes)
    }

    fn places(&self, class: StorageClass) -> Vec<Place> {
        let pools = lock(&self.pools);
        let of_pool = |pool: &Pool| {
            let keys = pool.claims.keys();
            keys.map(|(server, index)| Place::new(&pool.root, server, *index))
                .collect()
        };
        pools.get(&class).map(of_pool).unwrap_or_default()
    }
}

/// Looks at the sizes of a pool's claims again and again, until the manager is gone.
async fn look_after(shared: Weak<Shared>, class: StorageClass, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let Some(places) = shared.upgrade().map(|shared| shared.storage.places(class)) else {
            return;
        };
        for place in places {
            let looked = tokio::task::spawn_blocking(move || (place.used(), place)).await;
            let (Ok((used, place)), Some(shared)) = (looked, shared.upgrade()) else {
                return;
            };
            if let Some(allowed) = shared.storage.measured(class, &place, used) {
                shared.events.send(
                    EventKind::Quota,
                    &place.key().0,
                    Some(&allowed.to_string()),
                    Some(&used.to_string()),
                );
            }
        }
    }
}
