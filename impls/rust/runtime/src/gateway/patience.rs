//! How long a request may take, when some of its time is its client's.
//!
//! The rule: while the client has something to answer, the server's time stands still; what the client may take is
//! bounded by itself.

use std::future::Future;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::clock::lock;

#[derive(Debug, Default)]
struct Clock {
    /// Questions that are open, and since when there are any.
    open: usize,
    since: Option<Instant>,
    /// The client's time so far.
    spent: Duration,
}

/// The clock of one request.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    clock: Mutex<Clock>,
    changed: Notify,
}

/// The time is over.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Over {
    Server,
    /// It is the client that was silent for its limit.
    Client,
}

impl Patience {
    /// One more question waits for the client.
    pub(crate) fn hold(&self) {
        let mut clock = lock(&self.clock);
        clock.open += 1;
        clock.since.get_or_insert_with(Instant::now);
        drop(clock);
        self.changed.notify_waiters();
    }

    /// One fewer does.
    pub(crate) fn release(&self) {
        let mut clock = lock(&self.clock);
        clock.open = clock.open.saturating_sub(1);
        if clock.open == 0
            && let Some(since) = clock.since.take()
        {
            clock.spent += since.elapsed();
        }
        drop(clock);
        self.changed.notify_waiters();
    }

    /// None does.
    pub(crate) fn clear(&self) {
        lock(&self.clock).open = 0;
        self.release();
    }

    /// Waits until the time is over: `deadline` for the server, `limit` for the client each time that it is asked.
    pub(crate) async fn over(&self, deadline: Instant, limit: Duration) -> Over {
        loop {
            let changed = self.changed.notified();
            let (until, over) = {
                let clock = lock(&self.clock);
                match clock.since {
                    Some(since) => (since + limit, Over::Client),
                    None => (deadline + clock.spent, Over::Server),
                }
            };
            if tokio::time::timeout_at(until.into(), changed)
                .await
                .is_err()
            {
                return over;
            }
        }
    }

    /// `work`, or that its time was over before.
    pub(crate) async fn within<W: Future>(
        &self,
        deadline: Instant,
        limit: Duration,
        work: W,
    ) -> Result<W::Output, Over> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            over = self.over(deadline, limit) => Err(over),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn the_time_of_the_client_is_not_the_servers() {
        let patience = Patience::default();
        patience.hold();
        patience.hold();
        let begun = Instant::now();
        let asked = async {
            tokio::time::sleep(50 * MS).await;
            patience.release();
            tokio::task::yield_now().await;
            patience.release();
        };
        let waiting = patience.over(begun, 10_000 * MS);
        let (over, ()) = tokio::join!(waiting, asked);
        assert_eq!(over, Over::Server);
    }

    #[tokio::test]
    async fn a_client_that_is_silent_is_waited_for_only_so_long() {
        let patience = Patience::default();
        patience.hold();
        let work = std::future::pending::<()>();
        let over = patience.within(Instant::now(), 5 * MS, work).await;
        assert_eq!(over, Err(Over::Client));
        patience.release();
        let work = std::future::pending::<()>();
        let over = patience.within(Instant::now(), 5 * MS, work).await;
        assert_eq!(over, Err(Over::Server));
    }
}
