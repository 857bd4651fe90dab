"""The laws at the top of ``cores/breaker.py``, held against random callers and against a slow, obvious model."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crossfade.impls.config import BreakerSpec
from crossfade.impls.cores import Breaker, BreakerConfig
from crossfade.impls.states import CircuitState

CONFIGS = st.builds(
    BreakerConfig,
    window=st.integers(1, 6),
    window_ns=st.sampled_from([0, 4]),
    min_calls=st.integers(1, 8),
    failure_per_mille=st.sampled_from([1, 333, 500, 501, 1000]),
    slow_call_ns=st.sampled_from([0, 3]),
    slow_per_mille=st.sampled_from([250, 1000]),
    open_ns=st.integers(1, 12),
    probes=st.integers(1, 3),
)


@dataclass
class Window:
    """The obvious model of a closed breaker: keep everything, filter when asked."""

    config: BreakerConfig
    verdicts: list[tuple[int, bool, bool]] = field(default_factory=list)

    def trips(self, now_ns: int, ok: bool, slow: bool) -> bool:
        self.verdicts.append((now_ns, not ok, slow))
        config = self.config
        recent = self.verdicts[-config.window :]
        if config.window_ns:
            recent = [v for v in recent if now_ns - v[0] < config.window_ns]
        failures = sum(failed for _, failed, _ in recent)
        slows = sum(was_slow for _, _, was_slow in recent)
        return len(recent) >= min(config.min_calls, config.window) and (
            failures * 1000 >= config.failure_per_mille * len(recent)
            or (config.slow_call_ns > 0 and slows * 1000 >= config.slow_per_mille * len(recent))
        )


class BreakerCaller(RuleBasedStateMachine):
    """A caller that finishes, forgets and abandons its calls, in any order and at any time."""

    @initialize(config=CONFIGS)
    def start(self, config: BreakerConfig) -> None:
        self.config = config
        self.breaker = Breaker(config)
        self.window = Window(config)
        self.now_ns = 1000
        self.tripped_at = 0
        self.began: list[int] = []
        self.admissions: list[int] = []  # of probes, since the last trip

    def state(self) -> CircuitState:
        return self.breaker.state(self.now_ns)

    @rule(elapsed=st.integers(0, 6))
    def time_passes(self, elapsed: int) -> None:
        self.now_ns += elapsed

    @rule()
    def admit(self) -> None:
        before = self.state()
        admitted = self.breaker.admit(self.now_ns)
        assert self.state() == before, "admit changes nothing that is visible, it only makes half-open real"
        if before == CircuitState.CLOSED:
            assert admitted, "law 1: closed admits"
        if before == CircuitState.OPEN:
            assert not admitted, "law 1: open never admits"
        if admitted:
            self.began.append(self.now_ns)
        if before == CircuitState.HALF_OPEN and not admitted:
            assert self.now_ns - max(self.began, default=0) < self.config.open_ns, "law 4: locked for good"

    @precondition(lambda self: self.began)
    @rule(data=st.data(), ok=st.booleans())
    def record(self, data: st.DataObject, ok: bool) -> None:
        began = self.began.pop(data.draw(st.integers(0, len(self.began) - 1)))
        duration_ns = self.now_ns - began
        slow = 0 < self.config.slow_call_ns < duration_ns
        before = self.state()
        self.breaker.record(self.now_ns, ok, duration_ns)
        after = self.state()
        if began < self.tripped_at:
            assert after == before, "law 3: old evidence decided"
        elif before == CircuitState.CLOSED:
            assert (after == CircuitState.OPEN) == self.window.trips(self.now_ns, ok, slow)
        elif before == CircuitState.HALF_OPEN and began > self.tripped_at and (not ok or slow):
            assert after == CircuitState.OPEN, "law 2: one failed probe opens"
        if before != CircuitState.CLOSED and after == CircuitState.CLOSED:
            self.window = Window(self.config)
        if before != CircuitState.OPEN and after == CircuitState.OPEN:
            self.tripped_at = self.now_ns
            assert self.breaker.retry_after_ns(self.now_ns) == self.config.open_ns, "law 2: the full time"

    @precondition(lambda self: self.began)
    @rule(data=st.data())
    def forget(self, data: st.DataObject) -> None:
        began = self.began.pop(data.draw(st.integers(0, len(self.began) - 1)))
        before = self.state()
        self.breaker.forget(self.now_ns, self.now_ns - began)
        assert self.state() == before

    @precondition(lambda self: self.state() == CircuitState.HALF_OPEN)
    @rule()
    def a_burst_gets_no_more_than_the_probes(self) -> None:
        admitted = sum(self.breaker.admit(self.now_ns) for _ in range(self.config.probes + 5))
        assert admitted <= self.config.probes, "law 1"
        self.began.extend([self.now_ns] * admitted)

    @precondition(lambda self: self.state() != CircuitState.CLOSED)
    @rule()
    def a_healthy_server_recovers(self) -> None:
        """Wait, and let every call succeed at once: after one full set of probes the breaker is closed."""
        self.now_ns += self.config.open_ns
        for _ in range(self.config.probes):
            if self.state() != CircuitState.CLOSED:
                assert self.breaker.admit(self.now_ns), "law 4: no probe for a healthy server"
                self.breaker.record(self.now_ns, True, 0)
        assert self.state() == CircuitState.CLOSED
        self.window = Window(self.config)

    @invariant()
    def retry_after_tells_how_long_it_is_open(self) -> None:
        if not hasattr(self, "breaker"):
            return
        wait_ns = self.breaker.retry_after_ns(self.now_ns)
        assert (self.state() == CircuitState.OPEN) == (wait_ns > 0)
        if wait_ns:
            assert self.breaker.state(self.now_ns + wait_ns - 1) == CircuitState.OPEN
            assert self.breaker.state(self.now_ns + wait_ns) == CircuitState.HALF_OPEN


TestBreakerLaws = BreakerCaller.TestCase
TestBreakerLaws.settings = settings(max_examples=100, stateful_step_count=50, deadline=None)


def test_the_specification_converts_to_nanoseconds() -> None:
    assert BreakerConfig.from_spec(BreakerSpec()) == BreakerConfig()
    spec = BreakerSpec(window_ms=7, slow_call_ms=5, open_ms=3, min_calls=9, probes=2, enabled=False)
    config = BreakerConfig.from_spec(spec)
    assert (config.window_ns, config.slow_call_ns, config.open_ns) == (7_000_000, 5_000_000, 3_000_000)
    assert (config.min_calls, config.probes, config.enabled) == (9, 2, False)
