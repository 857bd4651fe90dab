"""Results on their way out: ``export``."""

from __future__ import annotations

import argparse
import sys

from crossfade.harness.cli import output
from crossfade.harness.export import FORMATS
from crossfade.harness.problems import EX_OK, UsageError
from crossfade.harness.store import load


def export(options: argparse.Namespace) -> int:
    """``crossfade export``: what is stored, in another tool's format."""
    text = FORMATS[options.format](load(options.results))
    if options.out is None:
        sys.stdout.write(text)
        return EX_OK
    try:
        # Bytes: CSV brings its own line ends.
        options.out.write_bytes(text.encode())
    except OSError as error:
        raise UsageError(f"--out {options.out}: {error.strerror}; name a file that can be written") from None
    output.note(f"{options.format}: {options.out}")
    return EX_OK
