"""The Rust side of crossfade. Use it through ``crossfade.impls.open_manager(config, "rust")``.

Everything is in the compiled module ``_native``; its stub, ``_native.pyi``, is checked against it by ``mypy.stubtest``.
"""

from crossfade_native._native import (
    ABI,
    CoreReplay,
    Coroutine,
    Gateway,
    Manager,
    Subscription,
    bridge_probe,
    bridge_probes_running,
    build_info,
    fleet_http,
    fleet_stdio,
    load_run,
    policy_bench,
)

__all__ = [
    "ABI",
    "CoreReplay",
    "Coroutine",
    "Gateway",
    "Manager",
    "Subscription",
    "bridge_probe",
    "bridge_probes_running",
    "build_info",
    "fleet_http",
    "fleet_stdio",
    "load_run",
    "policy_bench",
]
