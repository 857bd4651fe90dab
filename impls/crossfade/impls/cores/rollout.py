"""Owns the course of an update: when candidates start, how much traffic they get, when the old instances go.

The theory. An update replaces ``old`` instances by ``new`` candidates. The shell starts, probes, drains and closes; the
core is told of it and answers with the next actions. Phases and what leads from one to the next are one table,
``rollout_plan.NEXT``. A share of s means that s percent of the calls go to candidates and 100 - s to the old instances.

- recreate: hold the calls, retire all old, start all new, share 100, let go.
- rolling: start ``max_surge`` candidates at a time; each one that is ready takes its part of the traffic, and lets so
  many old ones retire that the sum runs straight from ``old`` to ``new``; at most max(old, new) + ``max_surge`` live.
- blue_green: start all new, share 100, retire all old.
- canary: start all new; one share after the other of ``steps_percent``, each judged by the candidates' answers.
- shadow: start all new; judge by comparing their answers to copies of safe reads; then as blue_green.

The laws, for a shell that reports truly:

1. Calls never go to nobody: share > 0 only with a ready candidate, share < 100 only with an old instance (or held).
2. Old instances and ready candidates together never fall below min(old, new), but in recreate while calls are held.
3. Every run ends, in ``done`` or in ``rolled_back``: each phase has a deadline.
4. After ``rolled_back`` all old instances are there again, after ``done`` all new ones; nobody is held or shadowed.
5. No step is passed on fewer than ``min_samples`` reports: who is not asked proves nothing.
6. No clock, no floats; a limit is reached on the nanosecond.
"""

from __future__ import annotations

from crossfade.impls.cores.rollout_plan import (
    DONE,
    EMPTYING,
    IDLE,
    JUDGING,
    NEXT,
    RETIRING,
    REVIVING,
    ROLLED_BACK,
    STARTING,
    Actions,
    RolloutConfig,
)
from crossfade.impls.states import Strategy


class Rollout:
    """One update, from ``begin`` to ``done`` or ``rolled_back``. A report that its phase does not expect is ignored."""

    def __init__(self, config: RolloutConfig) -> None:
        self._config = config
        self._begun_ns = 0  # of what the deadline is counted from: the last start, retirement or step
        self._reason = ""
        self.step = 0
        self.phase: str = IDLE
        self.share = 0
        self.starting = 0
        self.ready_new = 0
        self.old_live = config.old
        self.retiring = 0
        self.samples = 0
        self.failures = 0

    # -- what the shell reports

    def begin(self, now_ns: int) -> Actions:
        """Start the update."""
        if self.phase != IDLE:
            return []
        if self._config.strategy == Strategy.RECREATE:
            self._move("hold")
            return [["hold", True], *(self._retire(now_ns, self.old_live) or self._start(now_ns))]
        return self._start(now_ns)

    def ready(self, now_ns: int) -> Actions:
        """One candidate passed its health gate."""
        if self.phase != STARTING or not self.starting:
            return []
        self.starting -= 1
        self.ready_new += 1
        if self._config.strategy == Strategy.ROLLING:
            return self._roll(now_ns)
        return self._gated(now_ns) if self.ready_new == self._config.new else []

    def start_failed(self, now_ns: int) -> Actions:
        """One candidate ended, or said that it cannot serve, before it was ready."""
        return self._roll_back(now_ns, "start_failed") if self.phase == STARTING and self.starting else []

    def stopped(self, now_ns: int) -> Actions:
        """One old instance is drained and closed."""
        if not self.retiring or self.phase == REVIVING:
            return []
        self.retiring -= 1
        if self.phase == STARTING:
            return self._start(now_ns)
        if self.retiring:
            return []
        return self._start(now_ns) if self.phase == EMPTYING else self._finish()

    def revived(self, now_ns: int) -> Actions:
        """One old instance that ``start_old`` asked for is there again (or given to the supervisor, if it failed)."""
        if self.phase != REVIVING:
            return []
        self.old_live += 1
        if self.old_live == self._config.old:
            return self._give_up()
        return self._share(self._part()) if self._config.strategy == Strategy.ROLLING else []

    def sample(self, now_ns: int, ok: bool) -> Actions:
        """A candidate answered a call, well or not. Counts in a canary's step."""
        return self._judge(now_ns, ok) if self._config.strategy == Strategy.CANARY else []

    def compared(self, now_ns: int, equal: bool) -> Actions:
        """A candidate's answer to a copy was compared with the answer that was given. Counts for shadow."""
        return self._judge(now_ns, equal) if self._config.strategy == Strategy.SHADOW else []

    def abort(self, now_ns: int) -> Actions:
        """Somebody wants the old revision back."""
        return self._roll_back(now_ns, "aborted")

    def tick(self, now_ns: int) -> Actions:
        """Time has passed."""
        due = self.next_deadline_ns()
        if due is None or now_ns < due:
            return []
        if self.phase == JUDGING:
            enough = self.samples >= self._config.min_samples  # only 0 is reached without a report
            return self._step_over(now_ns) if enough else self._roll_back(now_ns, self._blame())
        if self.phase == REVIVING:
            self.old_live = self._config.old
            return self._give_up()
        if self.phase == STARTING and self.starting:
            return self._roll_back(now_ns, "gate_timeout")
        self.retiring = 0  # whoever is not closed by now is not waited for
        return self._finish() if self.phase == RETIRING else self._start(now_ns)

    def next_deadline_ns(self) -> int | None:
        """When ``tick`` will decide something by itself."""
        config = self._config
        if self.phase in (IDLE, DONE, ROLLED_BACK):
            return None
        if self.phase == JUDGING:
            return self._begun_ns + config.step_timeout_ns
        if self.phase == REVIVING or (self.phase == STARTING and self.starting):
            return self._begun_ns + config.gate_timeout_ns
        return self._begun_ns + config.drain_ns + config.gate_timeout_ns

    # -- forward

    def _start(self, now_ns: int) -> Actions:
        """As many candidates as may start now."""
        config = self._config
        if self.phase != STARTING:
            self._move("start")
        count = config.new - self.ready_new - self.starting
        if config.strategy == Strategy.ROLLING:
            alive = self.old_live + self.retiring + self.ready_new + self.starting
            room = max(config.old, config.new) + config.max_surge - alive
            count = min(count, room, config.max_surge - self.starting)
        if count <= 0:
            return []
        self.starting += count
        self._begun_ns = now_ns
        return [["start", count]]

    def _roll(self, now_ns: int) -> Actions:
        """One more is ready: so many old ones are too many."""
        config = self._config
        keep = -(-config.old * (config.new - self.ready_new) // config.new)
        retired = self._retire(now_ns, self.old_live - keep)
        actions = self._share(self._part()) + retired
        if self.ready_new < config.new:
            return actions + self._start(now_ns)
        if not self.retiring:
            return actions + self._finish()
        self._move("retire")
        return actions

    def _gated(self, now_ns: int) -> Actions:
        config = self._config
        if config.old and config.strategy in (Strategy.CANARY, Strategy.SHADOW):
            self._move("judge")
            self._begun_ns = now_ns
            if config.strategy == Strategy.SHADOW:
                return [["shadow", True]]
            return self._share(config.steps_percent[0])
        return self._switch(now_ns)

    def _judge(self, now_ns: int, ok: bool) -> Actions:
        if self.phase != JUDGING:
            return []
        config = self._config
        self.samples += 1
        self.failures += not ok
        # Judged as soon as the verdict is certain: so many failures are too many even if all others succeed.
        if self.failures * 1000 > config.max_failure_per_mille * max(self.samples, config.min_samples):
            return self._roll_back(now_ns, self._blame())
        return self._step_over(now_ns) if self.samples >= config.min_samples else []

    def _step_over(self, now_ns: int) -> Actions:
        """The step is passed."""
        config = self._config
        self.samples = self.failures = 0
        self.step += 1
        if config.strategy == Strategy.CANARY and self.step < len(config.steps_percent):
            self._begun_ns = now_ns
            return self._share(config.steps_percent[self.step])
        return self._quiet() + self._switch(now_ns)

    def _switch(self, now_ns: int) -> Actions:
        """All candidates are good: all traffic to them."""
        actions = self._share(100)
        if not self.old_live:
            return actions + self._finish()
        self._move("retire")
        return actions + self._retire(now_ns, self.old_live)

    def _finish(self) -> Actions:
        self._move("finish")
        return [*self._let_go(), ["done"]]

    # -- back

    def _roll_back(self, now_ns: int, reason: str) -> Actions:
        if self.phase in (IDLE, REVIVING, DONE, ROLLED_BACK):
            return []
        self._reason = reason
        missing = self._config.old - self.old_live
        if not missing:
            return self._give_up()
        self._move("revive")
        self.starting = self.retiring = 0
        self._begun_ns = now_ns
        gone: Actions = [["retire_new"]] if self._config.strategy == Strategy.RECREATE else []
        return [*gone, ["start_old", missing]]

    def _give_up(self) -> Actions:
        """All old instances are there: all traffic to them."""
        quiet = self._quiet() if self.phase == JUDGING else []
        self._move("give_up")
        self.starting = self.ready_new = self.retiring = 0
        return [*self._share(0), *quiet, ["retire_new"], *self._let_go(), ["rolled_back", self._reason]]

    # -- pieces

    def _move(self, event: str) -> None:
        self.phase = NEXT[self.phase, event]

    def _retire(self, now_ns: int, count: int) -> Actions:
        if not self.starting:
            self._begun_ns = now_ns
        self.old_live -= count
        self.retiring += count
        return [["retire_old", count]] if count else []

    def _share(self, percent: int) -> Actions:
        if percent == self.share:
            return []
        self.share = percent
        return [["share", percent]]

    def _part(self) -> int:
        """The candidates' part of the traffic by their number, at least 1 as soon as one is ready."""
        if not self.ready_new:
            return 0
        return max(1, self.ready_new * 100 // (self.ready_new + self.old_live))

    def _quiet(self) -> Actions:
        return [["shadow", False]] if self._config.strategy == Strategy.SHADOW else []

    def _let_go(self) -> Actions:
        return [["hold", False]] if self._config.strategy == Strategy.RECREATE else []

    def _blame(self) -> str:
        if not self.failures:
            return "too_few_samples"
        return "differences" if self._config.strategy == Strategy.SHADOW else "failures"
