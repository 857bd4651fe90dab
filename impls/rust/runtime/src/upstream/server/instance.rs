//! One running replica: the way to it, and how many calls hold it.
//!
//! The rule: once retired it gets no call any more, and it is closed only when the last one has left.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use crossfade_core::Holders;
use tokio::sync::Notify;

use crate::clock::lock;
use crate::storage::Claim;
use crate::upstream::Link;

#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) link: Link,
    pub(crate) index: usize,
    /// Of its storage.
    pub(super) directory: Option<String>,
    claim: Mutex<Option<Claim>>,
    calls: Holders,
    /// The last call has left.
    left: Notify,
}

impl Instance {
    pub(super) fn new(index: usize, link: Link, claim: Option<Claim>) -> Self {
        Self {
            directory: claim.as_ref().map(Claim::path),
            claim: Mutex::new(claim),
            link,
            index,
            calls: Holders::new(),
            left: Notify::new(),
        }
    }

    /// What it has claimed, once.
    pub(super) fn take_claim(&self) -> Option<Claim> {
        lock(&self.claim).take()
    }

    /// Calls that hold it.
    pub(crate) fn busy(&self) -> usize {
        self.calls.count()
    }

    /// A call takes it. Only while it stands in a row, whose lock is held: so nobody enters once it is retired.
    pub(super) fn enter(&self) {
        self.calls.enter();
    }

    pub(super) fn leave(&self) {
        if self.calls.leave() {
            self.left.notify_waiters();
        }
    }

    pub(super) fn retire(&self) {
        self.calls.retire();
    }

    /// Waits until no call holds it, at most `within`.
    pub(crate) async fn drained(&self, within: Duration) {
        let until = Instant::now() + within;
        loop {
            let left = self.left.notified();
            tokio::pin!(left);
            // Armed before the look, so that nobody leaves unnoticed in between.
            left.as_mut().enable();
            if self.busy() == 0 || tokio::time::timeout_at(until.into(), left).await.is_err() {
                return;
            }
        }
    }
}
