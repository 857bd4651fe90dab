"""``crossfade instructions``: callgrind's counts of the policy operations, printed and kept with a result."""

from __future__ import annotations

import argparse

import msgspec

from crossfade.harness import environment
from crossfade.harness.cli import output
from crossfade.harness.instructions import CORES, count
from crossfade.harness.policy import CORE_OPS
from crossfade.harness.problems import EX_OK, UsageError
from crossfade.harness.store import FILE, load, write
from crossfade.impls import missing
from crossfade.impls.errors import VariantUnavailable


def instructions(options: argparse.Namespace) -> int:
    """Count, and with ``--into`` store the counts in that result, which has to be of this machine and build."""
    for name in options.operation or ():
        if name not in CORE_OPS:
            raise UsageError(f"no operation {name!r}; one of {', '.join(CORE_OPS)}")
    cores = options.core or CORES
    if "rust" in cores and (why := missing("rust")) is not None:
        raise VariantUnavailable(why)
    results = None if options.into is None else load(options.into)
    if results is not None and (changed := environment.differences(results.environment, environment.collect())):
        raise UsageError(f"{options.into}: this machine differs ({'; '.join(changed)}); count where it was measured")
    found = count(cores, options.operation or tuple(CORE_OPS), output.note)
    if results is not None:
        path = options.into / FILE if options.into.is_dir() else options.into
        write(path, msgspec.json.encode(msgspec.structs.replace(results, instructions=found)))
    if options.json:
        output.dump(found)
    else:
        rows = [(c.core, c.operation, str(c.size), f"{c.per_operation:,.1f}") for c in found.counts]
        output.say(output.table(("core", "operation", "size", "instructions"), rows))
    return EX_OK
