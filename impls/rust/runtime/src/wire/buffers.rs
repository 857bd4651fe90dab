//! Read and write buffers, lent from a small per-thread store.
//!
//! The rule: an idle connection holds none, so memory grows with requests in flight and not with connections.

use std::cell::RefCell;

use super::PIECE;

const KEPT: usize = 64;
/// A buffer that grew beyond this is not kept.
const KEPT_CAPACITY: usize = 8 * PIECE;

thread_local! {
    static STORE: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Makes sure that `buffer` owns memory.
pub(crate) fn borrow(buffer: &mut Vec<u8>) {
    if buffer.capacity() == 0 {
        *buffer = STORE
            .with_borrow_mut(Vec::pop)
            .unwrap_or_else(|| Vec::with_capacity(PIECE + PIECE / 8));
    }
}

/// Takes the memory of `buffer` back; its content is gone.
pub(crate) fn give_back(buffer: &mut Vec<u8>) {
    let mut taken = std::mem::take(buffer);
    if taken.capacity() == 0 || taken.capacity() > KEPT_CAPACITY {
        return;
    }
    taken.clear();
    STORE.with_borrow_mut(|store| {
        if store.len() < KEPT {
            store.push(taken);
        }
    });
}
