"""Variants: named pairings of shell and core, with their capabilities as data.

A variant that was asked for and is missing is an error that says how to install it; none is ever replaced by another.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from crossfade.impls.errors import ConfigError, VariantUnavailable

if TYPE_CHECKING:
    from crossfade.impls.api import Manager
    from crossfade.impls.config import Config

ABI = 2
"""What this release expects of ``crossfade_native.ABI``; the two wheels are released together."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run a manager. ``factory`` is ``module:Class``, imported on first use only.

    ``measured_in``: tags of the scenarios that a run without ``--impl`` measures it in; empty: all of them.
    """

    name: str
    shell: str
    core: str
    factory: str
    needs: tuple[str, ...]
    install: str
    capabilities: frozenset[str]
    description: str
    measured_in: frozenset[str] = frozenset()


_COMMON = frozenset({"stdio", "http", "gateway", "in_process", "legacy", "modern", "policy_ops"})
_NATIVE = "pip install 'crossfade[rust]' (or `make native` in a checkout, which needs cargo)"
_WHERE_CORES_SHOW = frozenset({"cores"})
"""Variants that share the shell of another differ from it by their cores, which traffic through a gateway hides."""

VARIANTS: dict[str, Variant] = {
    v.name: v
    for v in (
        Variant(
            name="python",
            shell="asyncio",
            core="python",
            factory="crossfade.impls.python.manager:PythonManager",
            needs=("httptools", "msgspec"),
            install="pip install crossfade",
            capabilities=_COMMON,
            description="asyncio shell (uvloop when installed), Python cores",
        ),
        Variant(
            name="numba",
            shell="asyncio",
            core="numba",
            factory="crossfade.impls.python.on_numba:NumbaManager",
            needs=("httptools", "msgspec", "numba"),
            install="pip install 'crossfade[numba]'",
            capabilities=_COMMON,
            description="the same asyncio shell, cores compiled with numba: made for batches, slower in single steps",
            measured_in=_WHERE_CORES_SHOW,
        ),
        Variant(
            name="rust-core",
            shell="asyncio",
            core="rust",
            factory="crossfade.impls.python.on_rust:RustCoreManager",
            needs=("httptools", "msgspec", "crossfade_native"),
            install=_NATIVE,
            capabilities=_COMMON,
            description="the same asyncio shell, Rust cores behind PyO3: a core alone, and its crossings",
            measured_in=_WHERE_CORES_SHOW,
        ),
        Variant(
            name="rust",
            shell="tokio",
            core="rust",
            factory="crossfade.impls.rust.manager:RustManager",
            needs=("crossfade_native",),
            install=_NATIVE,
            capabilities=_COMMON,
            description="tokio shell and Rust cores behind PyO3; gateway traffic never touches Python",
        ),
    )
}


def missing(name: str) -> str | None:
    """Why a registered variant cannot run here, or None if it can."""
    variant = _lookup(name)
    for module in variant.needs:
        if importlib.util.find_spec(module) is None:
            return f"variant {name!r} needs the module {module!r}, which is not installed; {variant.install}"
    if "crossfade_native" in variant.needs:
        try:
            native = importlib.import_module("crossfade_native")
        except ImportError as error:  # half of another release, or built for another Python
            return f"variant {name!r}: crossfade_native cannot be loaded ({error}); {variant.install}"
        if native.ABI != ABI:
            return (
                f"variant {name!r}: crossfade_native has ABI {native.ABI} and crossfade expects {ABI}; "
                f"install both from one release: {variant.install}"
            )
    return None


ENVIRONMENT = "CROSSFADE_VARIANT"
"""Names the variant where the code does not: the same program runs on another one without an edit."""


def open_manager(config: Config, variant: str | None = None) -> Manager:
    """A manager of the named variant, not yet entered: ``async with open_manager(config, "rust") as manager``.

    None takes what the environment variable ``CROSSFADE_VARIANT`` says, or else ``python``.
    Raises :class:`VariantUnavailable` if the name is unknown or its parts are not installed, and :class:`ConfigError`
    if the configuration asks for spans and OpenTelemetry is not.
    """
    variant = variant or os.environ.get(ENVIRONMENT) or "python"
    if (why := missing(variant)) is not None:
        raise VariantUnavailable(why)
    module, _, attribute = _lookup(variant).factory.partition(":")
    cls: type[Manager] = getattr(importlib.import_module(module), attribute)
    return (_traced(cls) if config.telemetry.otel else cls)(config)


def _traced(cls: type[Manager]) -> type[Manager]:
    # The first is a namespace, which any package of the family makes.
    if not all(importlib.util.find_spec(module) for module in ("opentelemetry", "opentelemetry.trace")):
        raise ConfigError(
            "telemetry.otel is true and OpenTelemetry is not installed; pip install 'crossfade[otel]', "
            "or set telemetry.otel to false"
        )
    from crossfade.impls.tracing import traced  # noqa: PLC0415  optional

    return traced(cls)


def _lookup(name: str) -> Variant:
    try:
        return VARIANTS[name]
    except KeyError:
        raise VariantUnavailable(f"variant {name!r} is unknown; choose one of {', '.join(VARIANTS)}") from None
