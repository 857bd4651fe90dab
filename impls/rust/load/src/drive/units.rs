//! Chains: calls one after the other on one connection that make one unit.
//!
//! Rule: a unit is due and sent when its first call is, and ends with its last or with the first that fails; the answers
//! between are steps and leave no sample.

use crate::answer::Kind;
use crate::record::Ended;
use crate::template::Method;

#[derive(Debug, Clone, Copy, Default)]
struct Unit {
    /// Calls that have not ended; 0: none is under way.
    left: u32,
    due_ns: u64,
    sent_ns: u64,
    events: u32,
}

#[derive(Debug)]
pub(super) struct Units {
    length: u32,
    units: Vec<Unit>,
}

impl Units {
    pub(super) fn new(length: u32, connections: usize) -> Self {
        Self {
            length,
            units: vec![Unit::default(); connections],
        }
    }

    pub(super) fn begin(&mut self, key: usize, due_ns: u64, sent_ns: u64) {
        self.units[key] = Unit {
            left: self.length,
            due_ns,
            sent_ns,
            events: 0,
        };
    }

    /// When the unit under way on this connection was due.
    pub(super) fn going(&self, key: usize) -> Option<u64> {
        let unit = self.units[key];
        (unit.left > 0).then_some(unit.due_ns)
    }

    /// A call came to its end; the unit's end, if this was it.
    pub(super) fn ended(&mut self, key: usize, step: Ended) -> Option<Ended> {
        let unit = &mut self.units[key];
        if unit.left == 0 {
            return Some(step);
        }
        unit.events += step.events;
        unit.left = if step.verdict.is_ok() {
            unit.left - 1
        } else {
            0
        };
        (unit.left == 0).then_some(Ended {
            due_ns: unit.due_ns,
            sent_ns: unit.sent_ns,
            events: unit.events,
            ..step
        })
    }

    /// The connection went down between two calls and could not be opened again.
    pub(super) fn failed(&mut self, key: usize, end_ns: u64, kind: Kind) -> Option<Ended> {
        let left = std::mem::take(&mut self.units[key].left);
        (left > 0).then(|| self.units[key].over(end_ns, Err(kind)))
    }

    pub(super) fn unfinished(&self) -> impl Iterator<Item = Ended> + '_ {
        self.units
            .iter()
            .filter(|unit| unit.left > 0)
            .map(|unit| unit.over(u64::MAX, Err(Kind::Timeout)))
    }
}

impl Unit {
    const fn over(&self, end_ns: u64, verdict: Result<(), Kind>) -> Ended {
        Ended {
            due_ns: self.due_ns,
            sent_ns: self.sent_ns,
            end_ns,
            verdict,
            method: Method::Call,
            events: self.events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(end_ns: u64, verdict: Result<(), Kind>) -> Ended {
        Unit {
            events: 2,
            ..Unit::default()
        }
        .over(end_ns, verdict)
    }

    #[test]
    fn a_unit_lasts_from_its_first_call_to_its_last() {
        let mut units = Units::new(3, 1);
        units.begin(0, 5, 7);
        assert!(units.ended(0, step(10, Ok(()))).is_none());
        assert_eq!(units.going(0), Some(5));
        assert!(units.ended(0, step(20, Ok(()))).is_none());
        let whole = units.ended(0, step(30, Ok(()))).unwrap();
        assert_eq!((whole.due_ns, whole.sent_ns, whole.end_ns), (5, 7, 30));
        assert_eq!((whole.events, units.going(0)), (6, None));
    }

    #[test]
    fn the_first_failure_ends_a_unit_and_counts_once() {
        let mut units = Units::new(3, 1);
        units.begin(0, 5, 7);
        let whole = units.ended(0, step(10, Err(Kind::Reset))).unwrap();
        assert_eq!((whole.due_ns, whole.verdict), (5, Err(Kind::Reset)));
        assert!(units.failed(0, 20, Kind::Connect).is_none());
        units.begin(0, 30, 31);
        assert_eq!(units.unfinished().count(), 1);
        assert!(units.failed(0, 40, Kind::Connect).is_some());
    }
}
