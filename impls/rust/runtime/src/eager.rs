//! Answers that are known at once, for callers that would have to change threads to wait.
//!
//! The rule: a future that is polled inside [`eagerly`] goes as far as nothing leaves the process, and stops at the next
//! [`leaving`]: routing, limits, caches and breakers have answered by then, or never will. Polled elsewhere it goes on.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;

thread_local! {
    static EAGER: Cell<bool> = const { Cell::new(false) };
}

struct Restored;

impl Drop for Restored {
    fn drop(&mut self) {
        EAGER.set(false);
    }
}

/// Polls with `poll` (once), as far as nothing leaves the process. What is pending then has to be polled again by
/// somebody who wakes it: its wakers were not kept.
pub fn eagerly<T>(poll: impl FnOnce() -> Poll<T>) -> Poll<T> {
    EAGER.set(true);
    let _restored = Restored;
    poll()
}

/// Something is about to leave the process.
pub(crate) async fn leaving() {
    poll_fn(|_| {
        if EAGER.get() {
            Poll::Pending
        } else {
            Poll::Ready(())
        }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    #[test]
    fn nothing_leaves_eagerly_and_everything_does_later() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut work = pin!(async {
            leaving().await;
            1
        });
        assert!(eagerly(|| work.as_mut().poll(&mut cx)).is_pending());
        assert_eq!(work.as_mut().poll(&mut cx), Poll::Ready(1));
        let known = pin!(async { 2 });
        assert_eq!(eagerly(|| known.poll(&mut cx)), Poll::Ready(2));
    }
}
