"""Variants: named pairings of shell and core, with their capabilities as data.

A variant that was asked for and is missing is an error that says how to install it; none is ever replaced by another.
Other packages bring theirs by an entry point of the group ``crossfade.variants`` that names a :class:`Variant`.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
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


GROUP = "crossfade.variants"


@functools.cache
def _brought() -> dict[str, Variant | str]:
    """What installed packages bring: a variant, or why it is none. A broken one is the error of who asks for it."""
    found: dict[str, Variant | str] = {}
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda e: e.name):
        where = (
            f"variant {entry.name!r} (entry point {entry.value!r} of {entry.dist.name if entry.dist else 'a package'})"
        )
        if entry.name in VARIANTS or entry.name in found:
            # Never shadow: a figure must not change its meaning with what else is installed.
            found.setdefault(entry.name, f"{where}: the name is taken; give it another in its package")
            continue
        try:
            brought = entry.load()
        except Exception as error:  # noqa: BLE001 - foreign code, at import, may raise anything
            found[entry.name] = f"{where}: cannot be imported ({type(error).__name__}: {error}); mend or uninstall it"
            continue
        if not isinstance(brought, Variant) or brought.name != entry.name or ":" not in brought.factory:
            found[entry.name] = f"{where}: must be a crossfade.impls.Variant of that name with factory 'module:Class'"
        else:
            found[entry.name] = brought
    return {name: what for name, what in found.items() if name not in VARIANTS}


def variant_names() -> tuple[str, ...]:
    """The built-in variants, then those that installed packages bring, whether or not they can run here."""
    return (*VARIANTS, *_brought())


def find_variant(name: str) -> Variant:
    """A variant by name, built in or brought by a package. Raises :class:`VariantUnavailable`."""
    # Packages are looked through only for a name that is not ours: it takes milliseconds at every start.
    found = VARIANTS.get(name) or _brought().get(name)
    if isinstance(found, str):
        raise VariantUnavailable(found)
    if found is None:
        raise VariantUnavailable(f"variant {name!r} is unknown; choose one of {', '.join(variant_names())}")
    return found


def missing(name: str) -> str | None:
    """Why a registered variant cannot run here, or None if it can. Raises VariantUnavailable for an unknown name."""
    if name not in VARIANTS and isinstance(broken := _brought().get(name), str):
        return broken
    variant = find_variant(name)
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
    cls = _factory(find_variant(variant))
    return (_traced(cls) if config.telemetry.otel else cls)(config)


def _factory(variant: Variant) -> type[Manager]:
    module, _, attribute = variant.factory.partition(":")
    try:
        cls: type[Manager] = getattr(importlib.import_module(module), attribute)
    except Exception as error:
        if variant.name in VARIANTS:
            raise
        why = f"{variant.factory} cannot be imported ({type(error).__name__}: {error}); mend or uninstall its package"
        raise VariantUnavailable(f"variant {variant.name!r}: {why}") from error
    return cls


def _traced(cls: type[Manager]) -> type[Manager]:
    # The first is a namespace, which any package of the family makes.
    if not all(importlib.util.find_spec(module) for module in ("opentelemetry", "opentelemetry.trace")):
        raise ConfigError(
            "telemetry.otel is true and OpenTelemetry is not installed; pip install 'crossfade[otel]', "
            "or set telemetry.otel to false"
        )
    from crossfade.impls.tracing import traced  # noqa: PLC0415  optional

    return traced(cls)
