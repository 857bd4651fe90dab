//! The storage pools: who has claimed how much of them, the directory of each claim, and how much is really used.
//!
//! The rules: what is claimed never exceeds a pool's capacity; nothing outside of a pool is created, measured or deleted
//! (`place` follows no symbolic link below its root); disks are walked on threads that may block, so much a time; and a look
//! that did not see everything is told of.

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
use crate::logs::Level;
use crate::upstream::Shared;
use place::{MAX_DEPTH, Place, Used};
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
            cut: false,
        };
        pool.claims.insert((server.to_owned(), index), entry);
        if !std::mem::replace(&mut pool.watched, true) {
            shared
                .handle
                .spawn(look_after(Arc::downgrade(shared), pool.spec.clone()));
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

    /// Notes what one claim uses: the bytes allowed, if it has just come to exceed them, and whether it has just come to
    /// have more than is looked at.
    fn measured(&self, class: StorageClass, place: &Place, used: Used) -> (Option<u64>, bool) {
        let mut pools = lock(&self.pools);
        let claims = pools.get_mut(&class).map(|pool| &mut pool.claims);
        let Some(entry) = claims.and_then(|claims| claims.get_mut(&place.key())) else {
            return (None, false);
        };
        entry.used = used.bytes;
        let over = used.bytes > entry.bytes;
        let was_over = std::mem::replace(&mut entry.over, over);
        let was_cut = std::mem::replace(&mut entry.cut, !used.whole);
        (
            (over && !was_over).then_some(entry.bytes),
            !used.whole && !was_cut,
        )
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
async fn look_after(shared: Weak<Shared>, pool: StoragePoolSpec) {
    let (class, most) = (pool.storage_class, pool.max_entries);
    loop {
        tokio::time::sleep(Duration::from_millis(pool.check_interval_ms)).await;
        let Some(places) = shared.upgrade().map(|shared| shared.storage.places(class)) else {
            return;
        };
        for place in places {
            let looked = tokio::task::spawn_blocking(move || (place.used(most), place)).await;
            let (Ok((used, place)), Some(shared)) = (looked, shared.upgrade()) else {
                return;
            };
            let (exceeded, more) = shared.storage.measured(class, &place, used);
            let (server, used) = (place.key().0, used.bytes);
            if more {
                let text = format!(
                    "storage '{}' has more than {most} entries or is more than {MAX_DEPTH} directories deep: it uses more than the {used} bytes that are counted against its claim; keep fewer files there, or raise storage.maxEntries",
                    place.path().display()
                );
                shared.log.send(&server, Level::Warning, text);
            }
            if let Some(allowed) = exceeded {
                shared.events.send(
                    EventKind::Quota,
                    &server,
                    Some(&allowed.to_string()),
                    Some(&used.to_string()),
                );
            }
        }
    }
}
