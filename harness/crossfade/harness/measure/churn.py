"""Clients that come and go at a steady rate beside a load: each opens a connection, makes a few calls, and leaves.

They are modern and legacy in turn; a legacy one begins a session and ends it. Every answer is compared with its
request. The rule: what churns is counted, and a churn that did not take place as planned voids its block.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Literal, Self

from crossfade.harness.measure.bench import echoed
from crossfade.harness.measure.target import Target
from crossfade.harness.probe import Probe
from crossfade.harness.problems import BlockFailed
from crossfade.scenarios import Soak

KEPT = 0.8
"""Fewer than this share of the planned clients is another experiment."""
FAILED = 0.01


class Churn:
    """A thread of them; use as a context manager around the load."""

    def __init__(self, target: Target, soak: Soak) -> None:
        self.target, self.soak = target, soak
        self.calls = self.clients = self.sessions = self.failed = 0
        self.last_error = ""
        self.ran_s = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="churn")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(timeout=30.0)

    def _run(self) -> None:
        begin = time.monotonic()
        while not self._over.is_set():
            self._client(legacy=self.clients % 2 == 1)
            self.clients += 1
            self.ran_s = time.monotonic() - begin
            # By the schedule, and not after the last one: a slow answer must not slow what is planned.
            self._over.wait(max(0.0, self.clients / self.soak.churn_per_s - self.ran_s))

    def _client(self, *, legacy: bool) -> None:
        target = self.target
        era: Literal["modern", "legacy"] = "legacy" if legacy else "modern"
        try:
            with Probe(target.port, host=target.host, path=target.path, era=era) as probe:
                for number in range(self.soak.churn_calls):
                    self._call(probe, f"churn-{self.clients}-{number}")
        except BlockFailed as error:
            self.failed += 1
            self.last_error = str(error)
            return
        self.sessions += legacy

    def _call(self, probe: Probe, text: str) -> None:
        answer = probe.call(self.target.tool, {"text": text, "n": 0})
        if echoed(answer) != text:
            raise BlockFailed(f"sent {text!r}, got {str(answer)[:200]}; run `crossfade parity`")
        self.calls += 1

    def doubt(self) -> str | None:
        """Why the churn was not what was planned, or None."""
        if self.failed > FAILED * max(1, self.clients):
            return f"{self.failed} of {self.clients} clients that came and went failed: {self.last_error}"
        planned = self.ran_s * self.soak.churn_per_s
        if self.clients < KEPT * planned:
            return f"{self.clients} of {planned:.0f} clients came and went; lower soak.churn_per_s"
        return None

    def describe(self) -> str:
        """One sentence for the block's notes."""
        return (
            f"{self.clients} clients came and went beside the load, {self.sessions} with a session, {self.calls} calls"
        )
