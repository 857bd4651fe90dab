//! Connections that are opened as fast as they can be, used once and closed: a storm.
//!
//! Rule: a connection's latency runs from the moment its opening began to the answer of its one call (legacy: the handshake
//! lies between). One that cannot be opened is an error and is not tried again, so that every one of them is counted once.

use crate::client::{Client, Event};
use crate::plan::{Plan, nanoseconds};
use crate::record::{Ended, Outcome, Recorder};
use crate::sys::{self, now_ns};
use crate::template::Method;
use crate::{Failure, Host};

/// Runs the storm of a plan: `warmup_s` of it uncounted, then `connections`, or as many as `duration_s` allows.
pub fn run(plan: &Plan, host: &mut dyn Host) -> Result<Outcome, Failure> {
    let mut client = Client::new(plan)?;
    client.reopen = false;
    host.emit(r#"{"event":"ready","connections":0}"#)?;
    let slots = plan.parallel.min(plan.connections);
    let mut storm = Storm {
        client,
        recorder: Recorder::new(false, u64::MAX - 1, u64::MAX),
        opened: vec![None; slots],
        left: plan.connections,
        under_way: 0,
        events: Vec::new(),
    };
    if plan.warmup_s > 0.0 {
        storm.blow(now_ns() + nanoseconds(plan.warmup_s), host)?;
        storm.left = 0;
        storm.blow(now_ns() + nanoseconds(plan.timeout_s), host)?;
    }
    let cpu_before = sys::thread_cpu_ns();
    host.emit(r#"{"event":"measuring"}"#)?;
    let from = now_ns();
    let to = from + nanoseconds(plan.duration_s);
    storm.recorder = Recorder::new(false, from, to);
    storm.left = plan.connections;
    storm.blow(to, host)?;
    let cpu_ns = sys::thread_cpu_ns() - cpu_before;
    host.emit(r#"{"event":"measured"}"#)?;
    storm.recorder.close(now_ns());
    // What the time did not suffice for was neither answered nor refused.
    for _ in 0..storm.left + storm.under_way {
        storm.recorder.missed(from);
    }
    let outcome = storm.recorder.outcome(cpu_ns)?;
    Ok(Outcome {
        connects_per_s: Some(outcome.throughput_per_s),
        ..outcome
    })
}

struct Storm {
    client: Client,
    recorder: Recorder,
    /// When the opening of each slot's connection began.
    opened: Vec<Option<u64>>,
    left: usize,
    under_way: usize,
    events: Vec<Event>,
}

impl Storm {
    /// Until all have come to their end, or the time has.
    fn blow(&mut self, end: u64, host: &mut dyn Host) -> Result<(), Failure> {
        for slot in 0..self.opened.len() {
            if self.opened[slot].is_none() {
                self.next(slot);
            }
        }
        while self.under_way > 0 && now_ns() < end {
            let events = std::mem::take(&mut self.events);
            self.events = self.client.wait(end, events, host)?;
            for index in 0..self.events.len() {
                self.note(self.events[index]);
            }
        }
        Ok(())
    }

    fn next(&mut self, slot: usize) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        self.under_way += 1;
        let now = now_ns();
        self.opened[slot] = Some(now);
        self.recorder.sent(now, now);
        if slot < self.client.len() {
            self.client.open(slot);
        } else {
            self.client.add();
        }
    }

    fn note(&mut self, event: Event) {
        match event {
            // What was closed since is not up any more.
            Event::Up(slot) if self.client.is_idle(slot) && self.opened[slot].is_some() => {
                self.client.send(slot, now_ns());
            }
            Event::Ended(slot, ended) => self.over(slot, ended),
            Event::Failed(slot, kind) => {
                let now = now_ns();
                self.over(
                    slot,
                    Ended {
                        due_ns: now,
                        sent_ns: now,
                        end_ns: now,
                        verdict: Err(kind),
                        method: Method::Call,
                        events: 0,
                    },
                );
            }
            Event::Up(_) | Event::Lost(_) | Event::Renewed(..) => {}
        }
    }

    fn over(&mut self, slot: usize, ended: Ended) {
        let Some(due_ns) = self.opened[slot].take() else {
            return;
        };
        self.under_way -= 1;
        self.recorder.ended(Ended { due_ns, ..ended });
        self.client.close(slot);
        self.next(slot);
    }
}
