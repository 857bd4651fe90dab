//! Events of the manager, one bounded queue per reader.
//!
//! The rule: a writer never waits and a slow reader never costs memory; what did not fit is told as one `gap` event.

use std::collections::VecDeque;
use std::sync::atomic::{
    AtomicU64,
    Ordering::{Acquire, Release},
};
use std::sync::{Arc, Mutex, Weak};

use serde::Serialize;
use tokio::sync::Notify;

use crate::news::{List, News};
use crate::upstream::interest::Listening;

const CAPACITY: usize = 1024;

/// What happened.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    Registered,
    Unregistered,
    State,
    Circuit,
    ListChanged,
    Deployment,
    Restart,
    Quota,
    Gap,
}

/// One change of state, as `crossfade.impls.api.Event`.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Event {
    pub kind: EventKind,
    pub server: String,
    pub old: Option<String>,
    pub new: Option<String>,
    pub missed: u64,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Event>,
    missed: u64,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    wake: Notify,
}

/// A reader of events from the moment of `subscribe()`.
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    /// Keeps the servers' own news coming.
    listening: Option<Listening>,
}

impl Subscription {
    /// The next event, or `None` once the manager is closed and everything was read. Dropping the future loses nothing.
    pub async fn recv(&self) -> Option<Event> {
        loop {
            let notified = self.shared.wake.notified();
            match self.take() {
                Taken::Event(event) => return Some(event),
                Taken::End => return None,
                Taken::Nothing => notified.await,
            }
        }
    }

    /// Of what the servers tell, too, for as long as it is there.
    pub(crate) fn listening(mut self, listening: Listening) -> Self {
        self.listening = Some(listening);
        self
    }

    /// Ends the reader: a `recv` that waits returns `None`.
    pub fn close(&self) {
        lock(&self.shared.queue).closed = true;
        self.shared.wake.notify_one();
    }

    fn take(&self) -> Taken {
        let mut queue = lock(&self.shared.queue);
        if let Some(event) = queue.events.pop_front() {
            return Taken::Event(event);
        }
        if queue.missed > 0 {
            let missed = std::mem::take(&mut queue.missed);
            return Taken::Event(Event {
                kind: EventKind::Gap,
                server: String::new(),
                old: None,
                new: None,
                missed,
            });
        }
        if queue.closed {
            Taken::End
        } else {
            Taken::Nothing
        }
    }
}

enum Taken {
    Event(Event),
    Nothing,
    End,
}

/// Where events go in.
#[derive(Debug, Default)]
pub(crate) struct Hub {
    readers: Mutex<Vec<Weak<Shared>>>,
    /// How often a server came, went, changed its state or its specification, or said anew what it offers.
    changes: AtomicU64,
    /// What of it concerns clients.
    pub(crate) news: News,
}

impl Hub {
    pub(crate) fn subscribe(&self) -> Subscription {
        let shared = Arc::new(Shared::default());
        lock(&self.readers).push(Arc::downgrade(&shared));
        Subscription {
            shared,
            listening: None,
        }
    }

    /// What may have moved a server from one view of the registry to another, so far.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Acquire)
    }

    /// Something changed that is no event.
    pub(crate) fn changed(&self) {
        self.changes.fetch_add(1, Release);
    }

    pub(crate) fn send(&self, kind: EventKind, server: &str, old: Option<&str>, new: Option<&str>) {
        if !matches!(kind, EventKind::Circuit | EventKind::ListChanged) {
            self.changed();
        }
        match (kind, new) {
            (EventKind::Registered | EventKind::Unregistered, _)
            | (EventKind::Deployment, Some("running")) => self.news.all_changed(),
            (EventKind::ListChanged, Some(list)) => {
                if let Some(list) = List::named(list) {
                    self.news.changed(list);
                }
            }
            _ => {}
        }
        lock(&self.readers).retain(|reader| {
            let Some(shared) = reader.upgrade() else {
                return false;
            };
            {
                let mut queue = lock(&shared.queue);
                if queue.missed > 0 || queue.events.len() >= CAPACITY {
                    queue.missed += 1;
                } else {
                    queue.events.push_back(Event {
                        kind,
                        server: server.to_owned(),
                        old: old.map(str::to_owned),
                        new: new.map(str::to_owned),
                        missed: 0,
                    });
                }
            }
            shared.wake.notify_one();
            true
        });
    }

    pub(crate) fn close(&self) {
        for shared in lock(&self.readers)
            .drain(..)
            .filter_map(|reader| reader.upgrade())
        {
            lock(&shared.queue).closed = true;
            shared.wake.notify_one();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_reader_gets_a_gap_and_not_the_memory() {
        let hub = Hub::default();
        let reader = hub.subscribe();
        for _ in 0..CAPACITY + 7 {
            hub.send(EventKind::State, "a", Some("healthy"), Some("degraded"));
        }
        for _ in 0..CAPACITY {
            assert_eq!(reader.recv().await.map(|e| e.kind), Some(EventKind::State));
        }
        let gap = reader.recv().await.expect("a gap");
        assert_eq!((gap.kind, gap.missed), (EventKind::Gap, 7));
        hub.close();
        assert_eq!(reader.recv().await, None);
    }
}
