"""What can go wrong in the harness itself, and the exit code each gets.

Every message names the culprit and ends with the next action. Codes from 64 follow ``sysexits.h``; 1 and 2 are verdicts
(regressed, inconclusive) and never errors.
"""

from __future__ import annotations

from typing import ClassVar

EX_OK = 0
EX_REGRESSED = 1
EX_INCONCLUSIVE = 2
EX_USAGE = 64
EX_DATA = 65
EX_UNAVAILABLE = 69
EX_SOFTWARE = 70
EX_INTERRUPTED = 130


class HarnessError(Exception):
    """Root of what the harness raises on purpose."""

    exit_code: ClassVar[int] = EX_SOFTWARE


class UsageError(HarnessError):
    """The command line asks for something that cannot be done."""

    exit_code = EX_USAGE


class BrokenResults(HarnessError):
    """A results file is missing, truncated, foreign, newer, or does not fit the other one."""

    exit_code = EX_DATA


class Unavailable(HarnessError):
    """A part that was asked for is not installed or not usable here."""

    exit_code = EX_UNAVAILABLE


class BlockFailed(HarnessError):
    """A block could not be measured; it is recorded as failed, never dropped."""
