//! Every order in which threads can take the steps of a drain, as loom explores them, its memory model included.
//!
//! Rule: what calls do is counted without an order of its own, so that the drain alone can make all of it seen; and a
//! wake-up that is lost ends the model in a deadlock.

use loom::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;

use super::Holders;

/// As `tokio::sync::Notify` wakes: only whoever was armed before.
#[derive(Default)]
struct Bell {
    armed: bool,
    rung: bool,
}

struct Instance {
    holders: Holders,
    /// The row: whether it takes calls.
    usable: Mutex<bool>,
    bell: Mutex<Bell>,
    ringing: Condvar,
    answered: AtomicUsize,
}

impl Instance {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            holders: Holders::new(),
            usable: Mutex::new(true),
            bell: Mutex::new(Bell::default()),
            ringing: Condvar::new(),
            answered: AtomicUsize::new(0),
        })
    }

    fn choose(&self) -> bool {
        let usable = self.usable.lock().unwrap();
        if *usable {
            self.holders.enter();
        }
        *usable
    }

    /// The call of whoever holds it, and its end.
    fn call(&self) -> bool {
        self.answered.fetch_add(1, Relaxed);
        let last = self.holders.leave();
        if last {
            let mut bell = self.bell.lock().unwrap();
            bell.rung = bell.armed;
            self.ringing.notify_one();
        }
        last
    }

    fn retire(&self) {
        let mut usable = self.usable.lock().unwrap();
        *usable = false;
        self.holders.retire();
    }

    fn drained(&self) {
        self.bell.lock().unwrap().armed = true;
        if self.holders.count() > 0 {
            let mut bell = self.bell.lock().unwrap();
            while !bell.rung {
                bell = self.ringing.wait(bell).unwrap();
            }
        }
        assert_eq!(self.holders.count(), 0, "woken while somebody holds it");
    }

    /// The calls that it knows to have been answered.
    fn close(&self) -> usize {
        self.answered.load(Relaxed)
    }
}

#[test]
fn a_drain_waits_for_calls_in_flight_and_misses_no_end_of_one() {
    loom::model(|| {
        let instance = Instance::new();
        assert!(instance.choose() && instance.choose());
        let other = Arc::clone(&instance);
        let other = thread::spawn(move || other.call());
        instance.retire();
        let own = instance.call();
        instance.drained();
        assert_eq!(instance.close(), 2, "closed before the last answer");
        let told = other.join().unwrap();
        assert!(!(own && told), "two were the last");
    });
}

#[test]
fn a_call_that_comes_while_it_is_retired_is_refused_or_waited_for() {
    loom::model(|| {
        let instance = Instance::new();
        let caller = Arc::clone(&instance);
        let caller = thread::spawn(move || {
            let chosen = caller.choose();
            if chosen {
                caller.call();
            }
            usize::from(chosen)
        });
        instance.retire();
        instance.drained();
        let answered = instance.close();
        assert!(!instance.choose(), "chosen when it was closed");
        assert_eq!(
            answered,
            caller.join().unwrap(),
            "closed with a call in flight"
        );
    });
}

#[test]
fn whoever_retires_it_counts_nobody_or_somebody_is_told() {
    loom::model(|| {
        let instance = Instance::new();
        let calls = [(); 2].map(|()| {
            assert!(instance.choose());
            let instance = Arc::clone(&instance);
            thread::spawn(move || instance.holders.leave())
        });
        instance.holders.retire();
        let left = instance.holders.count();
        let told = calls.map(|call| call.join().unwrap());
        let told = told.into_iter().filter(|&last| last).count();
        assert!(told <= 1);
        assert!(
            left == 0 || told == 1,
            "{left} were there, and nobody said when they left"
        );
    });
}
