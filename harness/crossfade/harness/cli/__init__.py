"""The command line. ``main`` is the only place where an exception becomes an exit code.

Exit codes: 0 fine; 1 and 2 are verdicts (``gate``: regressed, inconclusive; ``parity``, ``call``, ``status``: 1 for
no); 64 and above are usage, broken input, a missing part, our own fault. Errors go to stderr and end with the next
action. ``cli.run.run`` is the data flow of the whole.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from crossfade.harness.cli.parser import build_parser
from crossfade.harness.problems import (
    EX_DATA,
    EX_INTERRUPTED,
    EX_SOFTWARE,
    EX_UNAVAILABLE,
    EX_USAGE,
    HarnessError,
)
from crossfade.impls.errors import ConfigError, CrossfadeError, VariantUnavailable
from crossfade.scenarios import ScenarioError

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``crossfade``. Returns the exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        options = build_parser().parse_args(arguments)
        options.argv = ("crossfade", *arguments)
        code: int = options.handler(options)
        sys.stdout.flush()
    except SystemExit as leaving:  # argparse: --help, or a usage error that it has printed
        code = leaving.code if isinstance(leaving.code, int) else EX_USAGE
    except KeyboardInterrupt:
        code = complain("interrupted", EX_INTERRUPTED)
    except BrokenPipeError:
        # The reader (head, less) has seen enough; a second complaint at interpreter exit is prevented here.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = EX_SOFTWARE
    except (HarnessError, ScenarioError, CrossfadeError) as error:
        code = complain(str(error), exit_code(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        code = complain(f"{where}{error.strerror or error}; check path and permissions", EX_SOFTWARE)
    return code


def exit_code(error: HarnessError | ScenarioError | CrossfadeError) -> int:
    """The exit code of an error that was raised on purpose."""
    match error:
        case HarnessError():
            return error.exit_code
        case ScenarioError():
            return EX_USAGE
        case ConfigError():
            return EX_DATA
        case VariantUnavailable():
            return EX_UNAVAILABLE
        case CrossfadeError():
            return EX_USAGE if error.blame in ("caller", "config") else EX_SOFTWARE


def complain(text: str, code: int) -> int:
    """One line on stderr."""
    sys.stderr.write(f"crossfade: {text}\n")
    return code
