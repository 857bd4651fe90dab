//! A race of two copies of one request: the first answer wins, the other copy is dropped.
//!
//! The rule: a failure loses against a copy that still runs; an error that the server answered with is an answer.
//! Whoever does not win, and both if the caller is dropped, gives back what it had: connection, slot, probe.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::{Error, Result};

/// How a race ended.
#[derive(Debug)]
pub(super) struct Won {
    pub(super) outcome: Result<Bytes>,
    /// How long the winner took by itself.
    pub(super) took: Duration,
    pub(super) second: bool,
}

pub(super) fn is_answer(outcome: &Result<Bytes>) -> bool {
    matches!(outcome, Ok(_) | Err(Error::Remote { .. }))
}

/// Runs `first`; if it has not ended after `delay`, whatever `second` gives beside it. With no answer from either, it
/// is what `first` failed with.
pub(super) async fn race<First, Second>(
    first: First,
    delay: Duration,
    second: impl FnOnce() -> Option<Second>,
) -> Won
where
    First: Future<Output = Result<Bytes>>,
    Second: Future<Output = Result<Bytes>>,
{
    let started = Instant::now();
    let won = |outcome, started: Instant, second| Won {
        outcome,
        took: started.elapsed(),
        second,
    };
    let mut first = pin!(first);
    if let Ok(outcome) = tokio::time::timeout(delay, first.as_mut()).await {
        return won(outcome, started, false);
    }
    let Some(second) = second() else {
        return won(first.await, started, false);
    };
    let started_second = Instant::now();
    let mut second = pin!(second);
    let mut failed = None;
    let mut lost = false;
    poll_fn(|cx| {
        if failed.is_none()
            && let Poll::Ready(outcome) = first.as_mut().poll(cx)
        {
            if lost || is_answer(&outcome) {
                return Poll::Ready(won(outcome, started, false));
            }
            failed = Some(outcome);
        }
        if !lost && let Poll::Ready(outcome) = second.as_mut().poll(cx) {
            if is_answer(&outcome) {
                return Poll::Ready(won(outcome, started_second, true));
            }
            if let Some(failed) = failed.take() {
                return Poll::Ready(won(failed, started, false));
            }
            lost = true;
        }
        Poll::Pending
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn crash() -> Result<Bytes> {
        Err(Error::ServerCrashed {
            message: "first".to_owned(),
            server: "s".to_owned(),
        })
    }

    async fn after(ms: u64, outcome: Result<Bytes>) -> Result<Bytes> {
        tokio::time::sleep(Duration::from_millis(ms)).await;
        outcome
    }

    #[tokio::test(start_paused = true)]
    async fn a_failure_loses_against_a_copy_that_still_runs() {
        let ms = Duration::from_millis;
        let good = || Ok(Bytes::from_static(b"{}"));
        // (first ends after, how), (second ends after, how), who wins, and with an answer?
        let cases = [
            ((5, good()), None, false, true),
            ((50, crash()), Some((100, good())), true, true),
            ((100, good()), Some((20, crash())), false, true),
            ((100, good()), Some((20, good())), true, true),
            ((100, crash()), Some((20, crash())), false, false),
            ((20, crash()), Some((100, crash())), false, false),
            ((30, good()), None, false, true),
        ];
        for (first, second, wins, answered) in cases {
            let second = second.map(|(at, outcome)| after(at, outcome));
            let won = race(after(first.0, first.1), ms(10), || second).await;
            assert_eq!((won.second, won.outcome.is_ok()), (wins, answered));
        }
    }
}
