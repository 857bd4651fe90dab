//! The turns of a loop: send what is due, wait, note what happened.
//!
//! Rule: nothing here decides when a request is due (the pacer does) or what an end means (the recorder does).

use super::units::Units;
use crate::answer::Kind;
use crate::client::{Client, Event};
use crate::pacer::Pacer;
use crate::plan::Plan;
use crate::record::{Ended, Recorder};
use crate::sys::now_ns;
use crate::template::Method;
use crate::{Failure, Host};

pub(super) struct Run {
    pub(super) client: Client,
    pub(super) pacer: Pacer,
    pub(super) recorder: Recorder,
    to: u64,
    open: bool,
    units: Option<Units>,
    events: Vec<Event>,
}

impl Run {
    /// Nothing is due at or after `to`.
    pub(super) fn new(
        plan: &Plan,
        client: Client,
        pacer: Pacer,
        recorder: Recorder,
        to: u64,
    ) -> Self {
        Self {
            client,
            open: pacer.is_open(),
            pacer,
            recorder,
            to,
            units: (plan.chain > 1).then(|| Units::new(plan.chain, plan.connections)),
            events: Vec::new(),
        }
    }

    pub(super) fn until(&mut self, end: u64, host: &mut dyn Host) -> Result<(), Failure> {
        loop {
            let now = now_ns();
            if now >= end {
                return Ok(());
            }
            self.turn(now, end, host)?;
        }
    }

    /// Sends nothing new, but lets what was due be sent and answered; what is left then was missed or timed out.
    pub(super) fn drain(&mut self, end: u64, host: &mut dyn Host) -> Result<(), Failure> {
        // What fell due since the last turn must be in line before the line can be called empty.
        let (recorder, now) = (&mut self.recorder, now_ns());
        self.pacer
            .advance(now, self.to, |due| recorder.late(due, now));
        while now_ns() < end
            && !(self.pacer.line_is_empty() && self.client.unanswered().next().is_none())
        {
            self.turn(now_ns(), end, host)?;
        }
        for due in self.pacer.unsent() {
            self.recorder.missed(due);
        }
        if let Some(units) = &self.units {
            for ended in units.unfinished() {
                self.recorder.ended(ended);
            }
            return Ok(());
        }
        for (_, ended) in self.client.unanswered() {
            self.recorder.ended(ended);
        }
        Ok(())
    }

    /// Lets a closed loop come to rest; the connections that can send then.
    pub(super) fn settle(&mut self, end: u64, host: &mut dyn Host) -> Result<Vec<usize>, Failure> {
        let count = self.client.len();
        let idle = |client: &Client| (0..count).filter(|key| client.is_idle(*key)).count();
        // No chain goes on: what counts is that nothing is under way.
        self.units = None;
        while now_ns() < end && idle(&self.client) < count {
            let events = std::mem::take(&mut self.events);
            self.events = self.client.wait(end, events, host)?;
        }
        Ok((0..count).filter(|key| self.client.is_idle(*key)).collect())
    }

    pub(super) fn turn(&mut self, now: u64, end: u64, host: &mut dyn Host) -> Result<(), Failure> {
        let recorder = &mut self.recorder;
        self.pacer
            .advance(now, self.to, |due| recorder.late(due, now));
        while let Some((key, due)) = self.pacer.take(now, |key| self.client.is_idle(key)) {
            let sent_ns = self.client.send(key, due);
            // In the closed loop a request is due when it is sent, not when the batch before it was read.
            recorder.sent(due, sent_ns);
            if let Some(units) = &mut self.units {
                units.begin(key, due, sent_ns);
            }
        }
        let wake = self.pacer.next_ns().min(end);
        self.events = self
            .client
            .wait(wake, std::mem::take(&mut self.events), host)?;
        for index in 0..self.events.len() {
            match self.events[index] {
                Event::Up(key) => self.up(key),
                Event::Ended(key, ended) => {
                    let ended = match &mut self.units {
                        None => Some(ended),
                        Some(units) => units.ended(key, ended),
                    };
                    if let Some(ended) = ended {
                        self.record(ended);
                    }
                }
                Event::Failed(key, kind) => self.failed(key, kind),
                Event::Renewed(from, to) => self.recorder.session(from, to),
                Event::Lost(_) => {}
            }
        }
        Ok(())
    }

    #[inline]
    fn up(&mut self, key: usize) {
        if let Some(units) = &self.units
            && let Some(due) = units.going(key)
        {
            if self.client.is_idle(key) {
                self.client.send(key, due);
            }
            return;
        }
        self.pacer.idle(key);
    }

    #[inline]
    fn record(&mut self, ended: Ended) {
        if self.open {
            self.recorder.ended(ended);
        } else {
            self.recorder.ended(Ended {
                due_ns: ended.sent_ns,
                ..ended
            });
        }
    }

    /// The attempt was made for the unit that was under way, for the request that waited longest or, in the closed loop,
    /// for the next one.
    fn failed(&mut self, key: usize, kind: Kind) {
        let now = now_ns();
        if let Some(ended) = self
            .units
            .as_mut()
            .and_then(|units| units.failed(key, now, kind))
        {
            return self.record(ended);
        }
        let due_ns = if self.open {
            self.pacer.fail_one()
        } else {
            Some(now)
        };
        if let Some(due_ns) = due_ns {
            self.recorder.ended(Ended {
                due_ns,
                sent_ns: 0,
                end_ns: now,
                verdict: Err(kind),
                method: Method::Call,
                events: 0,
            });
        }
    }
}
