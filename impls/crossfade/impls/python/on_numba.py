"""The ``numba`` variant: the asyncio shell on compiled cores. Importing this compiles them, or reads numba's cache."""

from __future__ import annotations

from typing import ClassVar

from crossfade.impls.cores import Cores
from crossfade.impls.cores_numba.bundle import NUMBA_CORES
from crossfade.impls.python.manager import PythonManager


class NumbaManager(PythonManager):
    """asyncio shell, numba cores."""

    variant: ClassVar[str] = "numba"
    cores: ClassVar[Cores] = NUMBA_CORES
