"""The laws at the top of ``cores/health.py`` and ``cores/restart.py``, held against random lives."""

from __future__ import annotations

from itertools import groupby

from hypothesis import given
from hypothesis import strategies as st

from crossfade.impls.config import HealthSpec, RestartSpec
from crossfade.impls.cores import Health, HealthConfig, Restart, RestartConfig

LIMIT = st.integers(1, 5)


@given(unhealthy_after=LIMIT, healthy_after=LIMIT, verdicts=st.lists(st.booleans(), max_size=80))
def test_only_a_long_enough_streak_turns_health(unhealthy_after: int, healthy_after: int, verdicts: list[bool]) -> None:
    """The obvious model: after each run of equal verdicts, the state is theirs if the run was long enough."""
    health = Health(HealthConfig(unhealthy_after, healthy_after))
    healthy = True
    for ok, run in groupby(verdicts):
        length = len(list(run))
        turned = [health.record(ok) for _ in range(length)]
        needed = healthy_after if ok else unhealthy_after
        expect = [ok != healthy and number == needed for number in range(1, length + 1)]
        assert turned == expect
        healthy = ok if any(expect) else healthy
        assert health.healthy == healthy


CONFIGS = st.builds(
    RestartConfig,
    base_ns=st.integers(1, 20),
    cap_ns=st.integers(1, 200),
    reset_after_ns=st.integers(1, 50),
    max_restarts=st.integers(0, 6),
    window_ns=st.integers(1, 400),
)
LIVES = st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30)), max_size=60)


@given(config=CONFIGS, seed=st.integers(0, 2**64 - 1), lives=LIVES)
def test_a_child_is_never_restarted_too_often_nor_too_soon(
    config: RestartConfig, seed: int, lives: list[tuple[int, int]]
) -> None:
    restart = Restart(config, seed)
    now_ns, exits, granted = 1, 0, list[int]()
    for uptime_ns, late_ns in lives:
        now_ns += uptime_ns
        delay_ns = restart.exited(now_ns, uptime_ns)
        recent = [at for at in granted if now_ns - at < config.window_ns]
        assert (delay_ns < 0) == (len(recent) >= config.max_restarts), "law 2"
        if delay_ns < 0:
            assert restart.down_until_ns() == now_ns + config.window_ns
            now_ns, exits, granted = restart.down_until_ns() + late_ns, 0, []
            continue
        exits = 0 if uptime_ns >= config.reset_after_ns else exits
        whole = min(config.cap_ns, config.base_ns << exits)
        assert whole - whole // 2 <= delay_ns <= whole, "law 1"
        assert restart.down_until_ns() == 0
        exits += 1
        granted.append(now_ns)
        now_ns += delay_ns + late_ns


@given(config=CONFIGS, seed=st.integers(0, 2**64 - 1), lives=LIVES)
def test_a_reset_child_behaves_like_a_new_one(config: RestartConfig, seed: int, lives: list[tuple[int, int]]) -> None:
    """But for the random stream, which goes on: so only the bounds of the first delay are compared."""
    restart = Restart(config, seed)
    now_ns = 1
    for uptime_ns, late_ns in lives:
        now_ns += uptime_ns + late_ns
        restart.exited(now_ns, uptime_ns)
    restart.reset()
    delay_ns = restart.exited(now_ns, 0)
    whole = min(config.cap_ns, config.base_ns)
    assert delay_ns == -1 if config.max_restarts == 0 else whole - whole // 2 <= delay_ns <= whole


def test_restarts_of_children_that_died_together_are_spread_out() -> None:
    delays = {Restart(RestartConfig(), seed).exited(0, 0) for seed in range(100)}
    assert len(delays) > 90


def test_milliseconds_of_the_configuration_become_nanoseconds() -> None:
    assert HealthConfig.from_spec(HealthSpec()) == HealthConfig()
    assert RestartConfig.from_spec(RestartSpec()) == RestartConfig()
