//! Callers that wait for what a core decides: woken when it grants or rejects, and gone from it when they are dropped.
//!
//! The rule: whoever waits gets exactly one verdict, or tells its core that it gave up, at whichever await it was dropped.

use std::collections::HashMap;
use std::time::Instant;

use crossfade_core::{Action, RejectReason};
use tokio::sync::oneshot;

pub(super) type Verdict = Result<(), RejectReason>;

/// Who waits, by the id that the core knows.
#[derive(Debug, Default)]
pub(super) struct Queue {
    senders: HashMap<u64, oneshot::Sender<Verdict>>,
    last: u64,
}

/// What callers queue for.
pub(super) trait Queued {
    /// The waiter is gone: it leaves the queue, and a grant that it has not seen goes to the next.
    fn give_up(&self, waiter: u64);
}

/// One that waits, until dropped.
#[derive(Debug)]
pub(super) struct Waiting<'a, Q: Queued> {
    pub(super) id: u64,
    queued: Option<&'a Q>,
    verdict: oneshot::Receiver<Verdict>,
}

impl Queue {
    /// A new waiter, to be told to the core by its id.
    pub(super) fn join<'a, Q: Queued>(&mut self, queued: &'a Q) -> Waiting<'a, Q> {
        self.last += 1;
        let (sender, verdict) = oneshot::channel();
        self.senders.insert(self.last, sender);
        Waiting {
            id: self.last,
            queued: Some(queued),
            verdict,
        }
    }

    pub(super) fn leave(&mut self, waiter: u64) {
        self.senders.remove(&waiter);
    }

    /// Whether it has no verdict yet.
    pub(super) fn holds(&self, waiter: u64) -> bool {
        self.senders.contains_key(&waiter)
    }

    /// Wakes those whom the core granted or rejected.
    pub(super) fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            let (waiter, verdict) = match action {
                Action::Grant { waiter, .. } => (waiter, Ok(())),
                Action::Reject { waiter, reason } => (waiter, Err(reason)),
                // Connections are the business of whoever has any.
                _ => continue,
            };
            if let Some(sender) = self.senders.remove(&waiter) {
                // A receiver that is gone gave up: its drop cancels the grant.
                let _ = sender.send(verdict);
            }
        }
    }
}

impl<Q: Queued> Waiting<'_, Q> {
    /// The verdict; without one until `until` it is the deadline's. A grant has to be taken from the core.
    pub(super) async fn verdict(mut self, until: Instant) -> Verdict {
        match tokio::time::timeout_at(until.into(), &mut self.verdict).await {
            Ok(Ok(verdict)) => {
                self.queued = None;
                verdict
            }
            Ok(Err(_)) | Err(_) => Err(RejectReason::Deadline),
        }
    }
}

impl<Q: Queued> Drop for Waiting<'_, Q> {
    fn drop(&mut self) {
        if let Some(queued) = self.queued {
            queued.give_up(self.id);
        }
    }
}
