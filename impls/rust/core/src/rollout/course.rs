//! What an update does next: forward step by step, or back to the old revision.
//!
//! The rule: every decision leaves a deadline, or a verdict. The laws are at the top of `rollout`.

use super::{Rollout, Steps};
use crate::rollout_plan::{Event, Phase, Reason, Step, Strategy, next};

impl Rollout {
    // -- forward

    /// As many candidates as may start now.
    pub(super) fn start(&mut self, now_ns: u64) -> Steps {
        if self.phase != Phase::Starting {
            self.go(Event::Start);
        }
        let config = &self.config;
        let mut count = config.new.saturating_sub(self.ready_new + self.starting);
        if config.strategy == Strategy::Rolling {
            let alive = self.old_live + self.retiring + self.ready_new + self.starting;
            let room = (config.old.max(config.new) + config.max_surge).saturating_sub(alive);
            count = count
                .min(room)
                .min(config.max_surge.saturating_sub(self.starting));
        }
        if count == 0 {
            return Vec::new();
        }
        self.starting += count;
        self.begun_ns = now_ns;
        vec![Step::Start(count)]
    }

    /// One more is ready: so many old ones are too many.
    pub(super) fn roll(&mut self, now_ns: u64) -> Steps {
        let config = &self.config;
        let (old, new) = (config.old, config.new);
        let keep = (old * (new - self.ready_new)).div_ceil(new);
        let retired = self.retire(now_ns, self.old_live - keep);
        let mut steps = self.shift(self.part());
        steps.extend(retired);
        if self.ready_new < new {
            steps.extend(self.start(now_ns));
        } else if self.retiring == 0 {
            steps.extend(self.finish());
        } else {
            self.go(Event::Retire);
        }
        steps
    }

    pub(super) fn gated(&mut self, now_ns: u64) -> Steps {
        match self.config.strategy {
            Strategy::Canary | Strategy::Shadow if self.config.old > 0 => {
                self.go(Event::Judge);
                self.begun_ns = now_ns;
                if self.config.strategy == Strategy::Shadow {
                    vec![Step::Shadow(true)]
                } else {
                    self.shift(self.config.steps_percent[0])
                }
            }
            _ => self.switch(now_ns),
        }
    }

    pub(super) fn judge(&mut self, now_ns: u64, ok: bool, wanted: Strategy) -> Steps {
        if self.config.strategy != wanted || self.phase != Phase::Judging {
            return Vec::new();
        }
        self.samples += 1;
        self.failures += u64::from(!ok);
        let config = &self.config;
        // Judged as soon as the verdict is certain: so many failures are too many even if all others succeed.
        let counted = self.samples.max(config.min_samples);
        if self.failures * 1000 > config.max_failure_per_mille * counted {
            self.roll_back(now_ns, self.blame())
        } else if self.samples >= config.min_samples {
            self.step_over(now_ns)
        } else {
            Vec::new()
        }
    }

    /// The step is passed.
    pub(super) fn step_over(&mut self, now_ns: u64) -> Steps {
        (self.samples, self.failures) = (0, 0);
        self.step += 1;
        let config = &self.config;
        if config.strategy == Strategy::Canary
            && let Some(&share) = config.steps_percent.get(self.step)
        {
            self.begun_ns = now_ns;
            return self.shift(share);
        }
        let mut steps = self.quiet();
        steps.extend(self.switch(now_ns));
        steps
    }

    /// All candidates are good: all traffic to them.
    pub(super) fn switch(&mut self, now_ns: u64) -> Steps {
        let mut steps = self.shift(100);
        if self.old_live == 0 {
            steps.extend(self.finish());
        } else {
            self.go(Event::Retire);
            steps.extend(self.retire(now_ns, self.old_live));
        }
        steps
    }

    pub(super) fn finish(&mut self) -> Steps {
        self.go(Event::Finish);
        let mut steps = self.let_go();
        steps.push(Step::Done);
        steps
    }

    // -- back

    pub(super) fn roll_back(&mut self, now_ns: u64, reason: Reason) -> Steps {
        if matches!(
            self.phase,
            Phase::Idle | Phase::Reviving | Phase::Done | Phase::RolledBack
        ) {
            return Vec::new();
        }
        self.reason = reason;
        let missing = self.config.old - self.old_live;
        if missing == 0 {
            return self.give_up();
        }
        self.go(Event::Revive);
        (self.starting, self.retiring) = (0, 0);
        self.begun_ns = now_ns;
        let mut steps = Vec::new();
        if self.config.strategy == Strategy::Recreate {
            steps.push(Step::RetireNew);
        }
        steps.push(Step::StartOld(missing));
        steps
    }

    /// All old instances are there: all traffic to them.
    pub(super) fn give_up(&mut self) -> Steps {
        let quiet = if self.phase == Phase::Judging {
            self.quiet()
        } else {
            Vec::new()
        };
        self.go(Event::GiveUp);
        (self.starting, self.ready_new, self.retiring) = (0, 0, 0);
        let mut steps = self.shift(0);
        steps.extend(quiet);
        steps.push(Step::RetireNew);
        steps.extend(self.let_go());
        steps.push(Step::RolledBack(self.reason));
        steps
    }

    // -- pieces

    pub(super) fn go(&mut self, event: Event) {
        self.phase = next(self.phase, event);
    }

    pub(super) fn retire(&mut self, now_ns: u64, count: usize) -> Steps {
        if self.starting == 0 {
            self.begun_ns = now_ns;
        }
        self.old_live -= count;
        self.retiring += count;
        if count > 0 {
            vec![Step::RetireOld(count)]
        } else {
            Vec::new()
        }
    }

    pub(super) fn shift(&mut self, percent: u8) -> Steps {
        if percent == self.share {
            return Vec::new();
        }
        self.share = percent;
        vec![Step::Share(percent)]
    }

    /// The candidates' part of the traffic by their number, at least 1 as soon as one is ready.
    pub(super) fn part(&self) -> u8 {
        if self.ready_new == 0 {
            return 0;
        }
        let part = self.ready_new * 100 / (self.ready_new + self.old_live);
        u8::try_from(part.max(1)).unwrap_or(100)
    }

    fn quiet(&self) -> Steps {
        match self.config.strategy {
            Strategy::Shadow => vec![Step::Shadow(false)],
            _ => Vec::new(),
        }
    }

    fn let_go(&self) -> Steps {
        match self.config.strategy {
            Strategy::Recreate => vec![Step::Hold(false)],
            _ => Vec::new(),
        }
    }

    pub(super) fn blame(&self) -> Reason {
        match self.config.strategy {
            _ if self.failures == 0 => Reason::TooFewSamples,
            Strategy::Shadow => Reason::Differences,
            _ => Reason::Failures,
        }
    }
}
