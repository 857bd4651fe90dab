"""``python -m crossfade.harness.planted FLAW PORT UPSTREAM``; ``slow=0.5`` plants another share."""

from __future__ import annotations

import asyncio
import contextlib
import sys

from crossfade.harness.planted.flaws import FLAWS, Circling
from crossfade.harness.planted.relay import serve


def main() -> None:
    """Relay until ended."""
    name, port, upstream = sys.argv[1:]
    flaw, _, amount = name.partition("=")
    relay = Circling(upstream, float(amount)) if amount else FLAWS[flaw](upstream)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serve(relay, int(port)))


if __name__ == "__main__":
    main()
