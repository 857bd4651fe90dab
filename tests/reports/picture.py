"""The top of a report as a PNG, for README: ``python -m tests.reports.picture REPORT.html PICTURE.png``."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.reports.browser import browser

WIDTH, HEIGHT = 1120, 1360


def main() -> None:
    """Open the page as a desktop would, and keep what the screen shows."""
    page, picture = map(Path, sys.argv[1:])
    with browser() as found:
        found.screen(WIDTH, HEIGHT)
        found.open(page.resolve())
        picture.write_bytes(found.picture(whole=False))


if __name__ == "__main__":
    main()
