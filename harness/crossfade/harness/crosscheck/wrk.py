"""wrk, the independent generator: the same bytes as ours, and its histogram as it was before wrk changed it.

wrk (4.1.0, ``wrk.c``, ``stats.c``) times a request from just before its first ``write`` to the end of the answer, in
microseconds, as our closed loop does. But before it shows anything, ``stats_correct`` adds samples for requests that
it thinks should have been sent meanwhile: with e = runtime / (requests / connections), every sample n >= 2e adds one
at n - e, n - 2e, ... down to e. In a closed loop nobody was to send those, and they move p99. The additions only go
downwards, so that they can be taken out again exactly: what is left must be one sample per request, and it is refused
if it is not.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from pathlib import Path

import msgspec

from crossfade.harness.affinity import pinned
from crossfade.harness.mcp import MODERN, request_meta
from crossfade.harness.problems import BlockFailed, Unavailable

_SCRIPT = """\
function init(args)
  wrk.format = function() return "{request}" end
end
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("run %d %d %d\\n", summary.duration, summary.requests,
    e.connect + e.read + e.write + e.status + e.timeout))
  for i = 1, #latency do
    io.write(string.format("at %d %d\\n", latency(i)))
  end
end
"""
"""``format`` is what wrk calls once for a static request; a function ``request`` would be called for every one."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """One window of wrk. ``latency`` maps microseconds to requests; ``undone`` is what was taken out of it."""

    duration_s: float
    requests: int
    latency: dict[int, int]
    undone: int
    cpu_s: float

    def at(self, percentile: float) -> float:
        """Microseconds at a percentile, as our own histograms count: the smallest value that covers the share."""
        wanted, seen = math.ceil(percentile / 100 * self.requests), 0
        for value in sorted(self.latency):
            seen += self.latency[value]
            if seen >= wanted:
                return float(value)
        raise BlockFailed("wrk: has no samples; is the endpoint up?")


def path() -> str:
    """Where wrk is. Raises Unavailable."""
    if (found := shutil.which("wrk")) is None:
        raise Unavailable("wrk is not installed, and the cross-check needs it; install it (Debian: apt install wrk)")
    return found


def version() -> str:
    """The first line of ``wrk --version``. Raises Unavailable."""
    said = subprocess.run([path(), "--version"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"wrk (\S+)", said)
    return found[1] if found else "unknown"


def request(port: int) -> bytes:
    """The bytes of the native generator's request, with its first id and a nonce of noughts."""
    meta = msgspec.json.encode(request_meta({"name": "crossfade-load", "version": "0.1.0"}))
    body = (
        b'{"jsonrpc":"2.0","id":1000000000,"method":"tools/call","params":{"_meta":' + meta + b',"name":"echo",'
        b'"arguments":{"text":"0000000000000000","n":1000000000}}}'
    )
    head = (
        f"POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Type: application/json\r\n"
        f"Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: {MODERN}\r\n"
        f"Mcp-Method: tools/call\r\nMcp-Name: echo\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def run(port: int, *, connections: int, duration_s: int, folder: Path, cpus: frozenset[int] | None) -> Run:
    """One window, on one thread. Raises BlockFailed if it ends badly or one request failed, Unavailable."""
    script = folder / "wrk.lua"
    script.write_text(_SCRIPT.format(request="".join(f"\\{byte:03d}" for byte in request(port))))
    argv = [path(), "-t1", f"-c{connections}", f"-d{duration_s}s", "-s", str(script), f"http://127.0.0.1:{port}/mcp"]
    with pinned(cpus):
        child = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    with child:
        try:
            assert child.stdout is not None  # noqa: S101 - PIPE above
            said = child.stdout.read()
            _, status, used = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        except BaseException:
            child.kill()
            raise
    if child.returncode:
        raise BlockFailed(f"wrk: exit code {child.returncode}: {' '.join(said.split())[-300:]}")
    return parse(said, connections=connections, cpu_s=used.ru_utime + used.ru_stime)


def parse(said: str, *, connections: int, cpu_s: float = 0.0) -> Run:
    """A run out of what the script wrote. Raises BlockFailed."""
    head = re.search(r"^run (\d+) (\d+) (\d+)$", said, re.MULTILINE)
    if head is None:
        raise BlockFailed(f"wrk: reported nothing: {' '.join(said.split())[-300:]}")
    runtime_us, requests, errors = (int(part) for part in head.groups())
    if errors or requests < connections:
        raise BlockFailed(f"wrk: {errors} of {requests} requests failed; is the endpoint up?")
    shown = {int(value): int(count) for value, count in re.findall(r"^at (\d+) (\d+)$", said, re.MULTILINE)}
    raw = uncorrected(shown, runtime_us // (requests // connections))
    if sum(raw.values()) != requests or min(raw.values(), default=0) < 0:
        raise BlockFailed(
            f"wrk: its histogram does not go back to one sample per request ({sum(raw.values())} for {requests}); "
            "this version corrects otherwise than 4.1.0, so read its stats.c"
        )
    undone = sum(shown.values()) - requests
    return Run(duration_s=runtime_us / 1e6, requests=requests, latency=raw, undone=undone, cpu_s=cpu_s)


def uncorrected(shown: dict[int, int], expected: int) -> dict[int, int]:
    """The histogram before ``stats_correct(latency, expected)``.

    Above ``expected``, what is shown at a value is its own count and those at every whole number of ``expected`` above
    it; all of these but its own are what is shown one ``expected`` further up.
    """
    raw = {v: count - (shown.get(v + expected, 0) if v > expected else 0) for v, count in shown.items()}
    return {value: count for value, count in raw.items() if count}
