"""The laws at the top of ``cores/rollout.py``, held against a shell that reports truly, in any order, at any time."""

from __future__ import annotations

from hypothesis import assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crossfade.impls.config import DeploySpec
from crossfade.impls.cores.rollout import Rollout
from crossfade.impls.cores.rollout_plan import Actions, RolloutConfig
from crossfade.impls.states import Strategy

CONFIGS = st.builds(
    RolloutConfig,
    strategy=st.sampled_from([s.value for s in Strategy]),
    old=st.integers(0, 6),
    new=st.integers(1, 6),
    max_surge=st.integers(1, 3),
    steps_percent=st.sampled_from([(5, 25, 50), (1,), (50, 100)]),
    min_samples=st.integers(0, 5),
    step_timeout_ns=st.integers(1, 30),
    max_failure_per_mille=st.sampled_from([0, 250, 999, 1000]),
    gate_timeout_ns=st.integers(1, 30),
    drain_ns=st.integers(0, 10),
)
OVER = ("done", "rolled_back")


class Shell(RuleBasedStateMachine):
    """What runs, and who may be asked: counted from the actions alone."""

    @initialize(config=CONFIGS)
    def start(self, config: RolloutConfig) -> None:
        self.config = config
        self.rollout = Rollout(config)
        self.now_ns = 1000
        self.old, self.retiring, self.reviving = config.old, 0, 0
        self.starting = self.ready = self.share = self.reports = 0
        self.held = self.shadow = False
        self.verdict = ""
        self.perform(self.rollout.begin(self.now_ns))

    def perform(self, actions: Actions) -> None:
        for verb, *rest in actions:
            assert not self.verdict, f"{verb} after {self.verdict}"
            if verb == "start":
                self.starting += rest[0]
                alive = self.old + self.retiring + self.ready + self.starting
                if self.config.strategy == Strategy.ROLLING:
                    assert self.starting <= self.config.max_surge
                    assert alive <= max(self.config.old, self.config.new) + self.config.max_surge
            elif verb == "start_old":
                self.reviving += rest[0]
            elif verb == "retire_old":
                self.old -= rest[0]
                self.retiring += rest[0]
            elif verb == "retire_new":
                self.starting = self.ready = 0
            elif verb == "share":
                assert 0 <= rest[0] <= 100
                assert rest[0] != self.share
                self.share = rest[0]
            elif verb == "shadow":
                self.shadow = rest[0]
            elif verb == "hold":
                self.held = rest[0]
            else:
                self.verdict = verb
            self.calls_reach_somebody(self.old if verb != "rolled_back" else self.config.old)

    def calls_reach_somebody(self, old: int) -> None:
        if self.held:
            return
        assert self.share == 0 or self.ready, "law 1: calls to candidates that are not ready"
        assert self.share == 100 or old or not self.config.old, "law 1: calls to old instances that are gone"
        if self.share == 0 and self.config.old:
            assert old, "law 1: nobody serves"

    @precondition(lambda self: not self.verdict)
    @rule(elapsed=st.integers(0, 12))
    def time_passes(self, elapsed: int) -> None:
        due = self.rollout.next_deadline_ns()
        assert due is not None, "law 3: a phase without a deadline"
        assert due > self.now_ns, "an overdue deadline that tick did not see"
        self.now_ns += elapsed
        late = self.now_ns >= due
        before = self.rollout.phase, self.rollout.share
        actions = self.rollout.tick(self.now_ns)
        assert late or not actions, "decided before the deadline"
        self.believe_the_core(late)
        self.perform(actions)
        self.steps_are_earned(*before)

    def believe_the_core(self, late: bool) -> None:
        """Whoever did not report by the deadline is counted as closed, or as there."""
        if late:
            self.retiring = self.rollout.retiring
            if self.rollout.phase == "rolled_back":
                self.old, self.reviving = self.rollout.old_live, 0

    @precondition(lambda self: self.starting)
    @rule(ok=st.integers(0, 9))
    def a_candidate_reports(self, ok: int) -> None:
        if self.rollout.phase == "reviving":
            assert self.rollout.ready(self.now_ns) == []
            return
        self.starting -= 1
        if ok:
            self.ready += 1
            self.perform(self.rollout.ready(self.now_ns))
        else:
            self.perform(self.rollout.start_failed(self.now_ns))

    @precondition(lambda self: self.retiring)
    @rule()
    def an_old_one_is_closed(self) -> None:
        self.retiring -= 1
        self.perform(self.rollout.stopped(self.now_ns))

    @precondition(lambda self: self.reviving)
    @rule()
    def an_old_one_is_back(self) -> None:
        self.reviving -= 1
        self.old += 1
        self.perform(self.rollout.revived(self.now_ns))

    @rule(ok=st.integers(0, 4))
    def a_verdict(self, ok: int) -> None:
        before = self.rollout.phase, self.rollout.share
        self.reports += self.rollout.phase == "judging"
        report = self.rollout.compared if self.shadow else self.rollout.sample
        self.perform(report(self.now_ns, bool(ok)))
        self.steps_are_earned(*before)

    def steps_are_earned(self, phase: str, share: int) -> None:
        core = self.rollout
        if phase == "judging" and (core.phase == "retiring" or (core.phase == phase and core.share > share)):
            assert self.reports >= self.config.min_samples, "law 5: passed on too few reports"
            self.reports = 0

    @rule(really=st.integers(0, 9))
    def somebody_gives_up(self, really: int) -> None:
        assume(really == 0)
        self.perform(self.rollout.abort(self.now_ns))

    @invariant()
    def capacity_stays(self) -> None:
        if not hasattr(self, "rollout") or self.held:
            return
        serving = self.old + (self.ready if self.share or self.verdict == "done" else 0)
        floor = min(self.config.old, self.config.new)
        assert serving >= floor, f"law 2: {serving} serve, {floor} should"

    @invariant()
    def the_core_counts_as_the_shell_does(self) -> None:
        if not hasattr(self, "rollout"):
            return
        core = self.rollout
        assert (core.share, core.old_live) == (self.share, self.old)
        if core.phase in OVER:
            assert self.verdict == core.phase
            assert not self.held, "law 4"
            assert not self.shadow, "law 4"
            assert core.next_deadline_ns() is None
            if core.phase == "done":
                assert (self.share, self.ready, self.old) == (100, self.config.new, 0), "law 4"
            else:
                assert (self.share, self.old) == (0, self.config.old), "law 4"

    def teardown(self) -> None:
        """Law 3: left alone, it comes to an end."""
        if not hasattr(self, "rollout"):
            return
        for _ in range(40):
            due = self.rollout.next_deadline_ns()
            if due is None:
                break
            self.now_ns = max(self.now_ns, due)
            self.rollout.tick(self.now_ns)
        assert self.rollout.phase in OVER, "law 3"


TestRolloutLaws = Shell.TestCase
TestRolloutLaws.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)


def test_the_specification_converts_to_nanoseconds() -> None:
    assert RolloutConfig.from_spec(DeploySpec(), Strategy.ROLLING, 1, 1) == RolloutConfig()
    spec = DeploySpec(step_timeout_ms=7, gate_timeout_ms=5, drain_ms=3, min_samples=9)
    config = RolloutConfig.from_spec(spec, Strategy.CANARY, 2, 3)
    assert (config.step_timeout_ns, config.gate_timeout_ns, config.drain_ns) == (7_000_000, 5_000_000, 3_000_000)
    assert (config.strategy, config.old, config.new, config.min_samples) == ("canary", 2, 3, 9)
