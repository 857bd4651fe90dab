"""The ``rust-core`` variant: the asyncio shell on the cores of the native module."""

from __future__ import annotations

from typing import ClassVar

from crossfade.impls.cores import Cores
from crossfade.impls.cores_rust import RUST_CORES
from crossfade.impls.python.manager import PythonManager


class RustCoreManager(PythonManager):
    """asyncio shell, Rust cores."""

    variant: ClassVar[str] = "rust-core"
    cores: ClassVar[Cores] = RUST_CORES
