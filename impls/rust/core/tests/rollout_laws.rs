//! The laws at the top of `rollout.rs`, held against a shell that reports truly, in any order, at any time.

use crossfade_core::Rollout;
use crossfade_core::rollout_plan::{Phase, RolloutConfig, Step, Strategy as Manner};
use proptest::prelude::*;

/// What runs, and who may be asked: counted from the steps alone.
struct Shell {
    config: RolloutConfig,
    rollout: Rollout,
    now_ns: u64,
    old: usize,
    retiring: usize,
    reviving: usize,
    starting: usize,
    ready: usize,
    share: u8,
    /// Of the step that is judged.
    reports: u64,
    held: bool,
    shadow: bool,
    verdict: Option<Phase>,
}

impl Shell {
    fn new(config: RolloutConfig) -> Self {
        let mut shell = Self {
            rollout: Rollout::new(config.clone()),
            now_ns: 1000,
            old: config.old,
            retiring: 0,
            reviving: 0,
            starting: 0,
            ready: 0,
            share: 0,
            reports: 0,
            held: false,
            shadow: false,
            verdict: None,
            config,
        };
        let steps = shell.rollout.begin(shell.now_ns);
        shell.perform(steps);
        shell
    }

    fn perform(&mut self, steps: Vec<Step>) {
        for step in steps {
            assert_eq!(self.verdict, None, "{step:?} after the verdict");
            match step {
                Step::Start(count) => {
                    self.starting += count;
                    let alive = self.old + self.retiring + self.ready + self.starting;
                    if self.config.strategy == Manner::Rolling {
                        let most = self.config.old.max(self.config.new) + self.config.max_surge;
                        assert!(self.starting <= self.config.max_surge && alive <= most);
                    }
                }
                Step::StartOld(count) => self.reviving += count,
                Step::Share(percent) => {
                    assert!(percent <= 100 && percent != self.share);
                    self.share = percent;
                }
                Step::Shadow(on) => self.shadow = on,
                Step::Hold(on) => self.held = on,
                Step::RetireOld(count) => {
                    self.old -= count;
                    self.retiring += count;
                }
                Step::RetireNew => (self.starting, self.ready) = (0, 0),
                Step::Done => self.verdict = Some(Phase::Done),
                Step::RolledBack(_) => self.verdict = Some(Phase::RolledBack),
            }
            self.calls_reach_somebody();
        }
    }

    fn calls_reach_somebody(&self) {
        if self.held {
            return;
        }
        assert!(self.share == 0 || self.ready > 0, "law 1: nobody is ready");
        let wanted = self.config.old > 0;
        assert!(
            self.share == 100 || self.old > 0 || !wanted,
            "law 1: the old instances are gone"
        );
    }

    fn report(&mut self, what: u8, well: bool) {
        let now = self.now_ns;
        let before = (self.rollout.phase(), self.rollout.share());
        self.reports += u64::from(what == 3 && before.0 == Phase::Judging);
        let steps = match what {
            0 if self.starting > 0 && self.rollout.phase() != Phase::Reviving => {
                self.starting -= 1;
                if well {
                    self.ready += 1;
                    self.rollout.ready(now)
                } else {
                    self.rollout.start_failed(now)
                }
            }
            1 if self.retiring > 0 => {
                self.retiring -= 1;
                self.rollout.stopped(now)
            }
            2 if self.reviving > 0 => {
                self.reviving -= 1;
                self.old += 1;
                self.rollout.revived(now)
            }
            3 if self.shadow => self.rollout.compared(now, well),
            3 => self.rollout.sample(now, well),
            4 if !well => self.rollout.abort(now),
            _ => self.pass(u64::from(what)),
        };
        self.perform(steps);
        self.steps_are_earned(before);
        self.check();
    }

    fn steps_are_earned(&mut self, (phase, share): (Phase, u8)) {
        let core = &self.rollout;
        let on = core.phase() == phase && core.share() > share;
        if phase == Phase::Judging && (on || core.phase() == Phase::Retiring) {
            assert!(self.reports >= self.config.min_samples, "law 5: too few");
            self.reports = 0;
        }
    }

    /// Time passes; whoever did not report by the deadline is counted as closed, or as there.
    fn pass(&mut self, elapsed: u64) -> Vec<Step> {
        let Some(due) = self.rollout.next_deadline_ns() else {
            return Vec::new();
        };
        self.now_ns += elapsed;
        let steps = self.rollout.tick(self.now_ns);
        if self.now_ns >= due {
            self.retiring = self.rollout.retiring();
            if self.rollout.phase() == Phase::RolledBack {
                (self.old, self.reviving) = (self.rollout.old_live(), 0);
            }
        } else {
            assert!(steps.is_empty(), "decided before the deadline");
        }
        steps
    }

    fn check(&self) {
        let core = &self.rollout;
        assert_eq!((core.share(), core.old_live()), (self.share, self.old));
        if !self.held {
            let candidates = if self.share > 0 { self.ready } else { 0 };
            let floor = self.config.old.min(self.config.new);
            assert!(self.old + candidates >= floor, "law 2");
        }
        let Some(verdict) = self.verdict else {
            assert!(core.next_deadline_ns().is_some(), "law 3: no deadline");
            return;
        };
        assert_eq!(core.phase(), verdict);
        assert!(
            !self.held && !self.shadow && core.next_deadline_ns().is_none(),
            "law 4"
        );
        let found = (self.share, self.ready, self.old);
        let wanted = match verdict {
            Phase::Done => (100, self.config.new, 0),
            _ => (0, 0, self.config.old),
        };
        assert_eq!(found, wanted, "law 4");
    }

    /// Law 3: left alone, it comes to an end.
    fn ends(&mut self) {
        for _ in 0..40 {
            let Some(due) = self.rollout.next_deadline_ns() else {
                return;
            };
            self.now_ns = self.now_ns.max(due);
            self.rollout.tick(self.now_ns);
        }
        panic!("law 3: it does not end");
    }
}

fn configs() -> impl Strategy<Value = RolloutConfig> {
    let manner = prop::sample::select(vec![
        Manner::Recreate,
        Manner::Rolling,
        Manner::BlueGreen,
        Manner::Canary,
        Manner::Shadow,
    ]);
    let steps = prop::sample::select(vec![vec![5, 25, 50], vec![1], vec![50, 100]]);
    let limit = prop::sample::select(vec![0, 250, 999, 1000]);
    let counts = (0..7usize, 1..7usize, 1..4usize, 0..6u64);
    (manner, steps, limit, counts, (1..30u64, 1..30u64, 0..10u64)).prop_map(
        |(
            strategy,
            steps_percent,
            max_failure_per_mille,
            (old, new, max_surge, min_samples),
            times,
        )| {
            RolloutConfig {
                strategy,
                old,
                new,
                max_surge,
                steps_percent,
                min_samples,
                step_timeout_ns: times.0,
                max_failure_per_mille,
                gate_timeout_ns: times.1,
                drain_ns: times.2,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_rollout_keeps_its_laws(
        config in configs(),
        reports in prop::collection::vec((0..9u8, prop::bool::weighted(0.85)), 1..80),
    ) {
        let mut shell = Shell::new(config);
        for (what, well) in reports {
            if shell.verdict.is_some() {
                break;
            }
            shell.report(what, well);
        }
        shell.ends();
    }
}
