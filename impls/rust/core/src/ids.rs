//! Owns the maps keyed by connection and waiter ids.
//!
//! Rule: ids are counted by the pool and by the shell, never chosen by a client, so one multiplication is hash enough.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

#[derive(Debug, Clone, Default)]
pub(crate) struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.write_u64(u64::from(byte));
        }
    }
    fn write_u64(&mut self, id: u64) {
        self.0 = (self.0 ^ id)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15)
            .rotate_left(32);
    }
}

/// A map from connection or waiter id.
pub(crate) type ById<V> = HashMap<u64, V, BuildHasherDefault<IdHasher>>;

/// A set of connection ids.
pub(crate) type IdSet = HashSet<u64, BuildHasherDefault<IdHasher>>;
