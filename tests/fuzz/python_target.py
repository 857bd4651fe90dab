"""One atheris target: any bytes to the Python parser and translator, which must answer or refuse, and never else fail.

Run by ``make fuzz``, with libFuzzer's own arguments.
"""

# mypy: ignore-errors
from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["crossfade", "tests.vectors", "tests.fuzz.laws"]):
    from tests.fuzz.laws import one_input

if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
