"""What a test needs and the machine has not: a failure in CI, a skip elsewhere."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def unavailable(why: str) -> NoReturn:
    """End the test; ``why`` says what is missing and how to get it."""
    if os.environ.get("CI") == "true":
        pytest.fail(why)
    pytest.skip(why)


def needs(**programs: str) -> None:
    """End the test if a program is not there; the value is Debian's package."""
    for program, package in programs.items():
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin") is None:
            unavailable(f"{program} is not installed; apt-get install {package}")
