"""What the command line's values may be; each refusal says what to write instead."""

from __future__ import annotations

import argparse
import re


def share(text: str) -> float:
    """``5%`` or ``0.05`` as 0.05."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(%?)\s*", text)
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 < value < 10:
        raise argparse.ArgumentTypeError(f"{text!r} is no threshold; write 5% or 0.05")
    return value


def count(text: str) -> int:
    """A number of rounds."""
    if not text.isdecimal() or not 2 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 2 to 1000, for an interval needs two")
    return int(text)


def repetitions(text: str) -> int:
    """How often something whole is done."""
    if not text.isdecimal() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1 to 1000")
    return int(text)


def seconds(text: str) -> float:
    """A duration above zero, at most ten minutes."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; give seconds, above 0 and at most 600")
    return value


def whole_seconds(text: str) -> int:
    """A duration in whole seconds, as wrk takes it."""
    if not text.isdecimal() or not 1 <= int(text) <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number of seconds; give 1 to 600")
    return int(text)


def connections(text: str) -> int:
    """A number of client connections."""
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number of connections, 1 to 10000")
    return int(text)


def port(text: str) -> int:
    """A TCP port; 0 lets the system choose."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port; give 0 to 65535")
    return int(text)


def seed(text: str) -> int:
    """A seed that fits every generator."""
    if not text.isdecimal() or int(text) >= 1 << 32:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed; give 0 to 4294967295")
    return int(text)


def duration(text: str) -> float:
    """``10ms``, ``0.5s`` or ``200us`` as seconds."""
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(us|ms|s)\s*", text)
    value = float(match[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[match[2]] if match else 0.0
    if not 0 < value <= 600:
        raise argparse.ArgumentTypeError(f"{text!r} is no duration; write 10ms, 200us or 1.5s")
    return value


def rate(text: str) -> float:
    """Requests per second."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1e9:
        raise argparse.ArgumentTypeError(f"{text!r} is no rate; give requests per second, above 0")
    return value


def slots(text: str) -> int:
    """Calls at once; 0 is no bound."""
    if not text.isdecimal() or int(text) > 1_000_000:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 0 to 1000000")
    return int(text)


def failures(text: str) -> float:
    """A share of calls, below all of them."""
    value = share(text)
    if value >= 1:
        raise argparse.ArgumentTypeError(f"{text!r} leaves no call that succeeds; give less than 100%")
    return value


def cores(text: str) -> int:
    """Cores of one node."""
    if not text.isdecimal() or not 1 <= int(text) <= 1024:
        raise argparse.ArgumentTypeError(f"{text!r} must be a whole number from 1 to 1024")
    return int(text)
