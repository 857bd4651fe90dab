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
    use tokio::sync::oneshot;

    fn crash() -> Result<Bytes> {
        Err(Error::ServerCrashed {
            message: "first".to_owned(),
            server: "s".to_owned(),
        })
    }

    /// Lets the second copy begin, then ends both in this order; true: with an answer.
    async fn ended(ends: &[(&str, bool)]) -> Won {
        let (first, first_ends) = oneshot::channel();
        let (second, second_ends) = oneshot::channel();
        let (begun, begins) = oneshot::channel();
        let mut senders = [("first", Some(first)), ("second", Some(second))];
        let racing = race(
            async { first_ends.await.expect("sent") },
            Duration::from_millis(1),
            || {
                begun.send(()).expect("awaited");
                Some(async { second_ends.await.expect("sent") })
            },
        );
        let script = async {
            begins.await.expect("it begins");
            for (who, answers) in ends {
                let outcome = if *answers {
                    Ok(Bytes::from_static(b"{}"))
                } else {
                    crash()
                };
                for (name, sender) in &mut senders {
                    if name == who {
                        let _ = sender.take().expect("once").send(outcome.clone());
                    }
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::join!(racing, script).0
    }

    #[tokio::test]
    async fn a_failure_loses_against_a_copy_that_still_runs() {
        // in which order they end; whether the second wins, and whether there is an answer
        type Case = (&'static [(&'static str, bool)], bool, bool);
        let cases: [Case; 5] = [
            (&[("first", false), ("second", true)], true, true),
            (&[("second", false), ("first", true)], false, true),
            (&[("second", true)], true, true),
            (&[("second", false), ("first", false)], false, false),
            (&[("first", false), ("second", false)], false, false),
        ];
        for (ends, wins, answered) in cases {
            let won = ended(ends).await;
            assert_eq!(
                (won.second, won.outcome.is_ok()),
                (wins, answered),
                "{ends:?}"
            );
        }
        let long = Duration::from_secs(60);
        let quick = race(async { Ok(Bytes::new()) }, long, || {
            None::<std::future::Ready<_>>
        })
        .await;
        assert!(quick.outcome.is_ok() && !quick.second);
    }
}
