//! Owns the choice which answers are kept: the most recently used that are still fresh, within bounds of number and size.
//!
//! Rules, pinned in `impls/vectors/SCHEMA.md`: an entry is gone on the nanosecond its time is over; what has to make
//! room goes in one order, expired ones first; what is too large, or fresh for no time, is not kept and nothing goes
//! for it. It knows neither requests nor who asked: keys and values are the shell's.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;

/// Bounds. `max_ttl_ns` is the longest that anything is fresh, whatever its owner says.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "replay", derive(serde::Deserialize))]
#[cfg_attr(feature = "replay", serde(deny_unknown_fields))]
pub struct CacheConfig {
    pub max_entries: usize,
    pub max_bytes: u64,
    pub max_ttl_ns: u64,
}

impl Default for CacheConfig {
    fn default() -> Self {
        Self {
            max_entries: 1_000,
            max_bytes: 16 * 1024 * 1024,
            max_ttl_ns: 3_600_000_000_000,
        }
    }
}

#[derive(Debug)]
struct Entry<V> {
    value: V,
    size: u64,
    expires_ns: u64,
    /// When it was put, in order of puts.
    stamp: u64,
    /// When it was last used, in order of uses.
    used: u64,
}

/// LRU with times to live. All operations cost O(log n). Keys are cloned, so make that cheap.
#[derive(Debug)]
pub struct Cache<K, V> {
    config: CacheConfig,
    entries: HashMap<K, Entry<V>>,
    by_use: BTreeMap<u64, K>,
    by_expiry: BTreeMap<(u64, u64), K>,
    clock: u64,
    bytes: u64,
}

impl<K: Clone + Eq + Hash, V> Cache<K, V> {
    pub fn new(config: CacheConfig) -> Self {
        Self {
            config,
            entries: HashMap::new(),
            by_use: BTreeMap::new(),
            by_expiry: BTreeMap::new(),
            clock: 0,
            bytes: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What all entries were said to take.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The value, which becomes the most recently used; `None` if there is none that is fresh.
    pub fn get<Q>(&mut self, now_ns: u64, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        if self.entries.get(key)?.expires_ns <= now_ns {
            self.remove(key);
            return None;
        }
        self.clock += 1;
        let entry = self.entries.get_mut(key)?;
        if let Some(key) = self.by_use.remove(&entry.used) {
            entry.used = self.clock;
            self.by_use.insert(entry.used, key);
        }
        Some(&entry.value)
    }

    /// Keeps `value` of `size` bytes for `ttl_ns`, in place of an older one. Returns the keys that left for it, in
    /// order; not `key` itself.
    pub fn put(&mut self, now_ns: u64, key: K, value: V, size: u64, ttl_ns: u64) -> Vec<K> {
        self.remove(&key);
        let mut left = self.expire(now_ns);
        let config = self.config;
        let ttl_ns = ttl_ns.min(config.max_ttl_ns);
        if ttl_ns == 0 || size > config.max_bytes || config.max_entries == 0 {
            return left;
        }
        while self.entries.len() >= config.max_entries
            || self.bytes.saturating_add(size) > config.max_bytes
        {
            let Some(oldest) = self.by_use.first_key_value().map(|(_, key)| key.clone()) else {
                break;
            };
            self.remove(&oldest);
            left.push(oldest);
        }
        self.clock += 1;
        let entry = Entry {
            value,
            size,
            expires_ns: now_ns.saturating_add(ttl_ns),
            stamp: self.clock,
            used: self.clock,
        };
        self.by_use.insert(entry.used, key.clone());
        self.by_expiry
            .insert((entry.expires_ns, entry.stamp), key.clone());
        self.bytes += size;
        self.entries.insert(key, entry);
        left
    }

    /// Forgets one entry; whether it was there, fresh or not.
    pub fn remove<Q>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        let Some(entry) = self.entries.remove(key) else {
            return false;
        };
        self.by_use.remove(&entry.used);
        self.by_expiry.remove(&(entry.expires_ns, entry.stamp));
        self.bytes -= entry.size;
        true
    }

    /// All keys, least recently used first, fresh or not.
    pub fn keys(&self) -> Vec<K> {
        self.by_use.values().cloned().collect()
    }

    fn expire(&mut self, now_ns: u64) -> Vec<K> {
        let mut left = Vec::new();
        while let Some(first) = self.by_expiry.first_entry() {
            if first.key().0 > now_ns {
                break;
            }
            let key = first.get().clone();
            self.remove(&key);
            left.push(key);
        }
        left
    }
}
