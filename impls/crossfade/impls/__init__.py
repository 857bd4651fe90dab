"""The front door of the managers: the interface, its errors, its configuration, and how to open one."""

from crossfade.impls.api import (
    CallResult,
    CircuitState,
    Event,
    Gateway,
    InstanceInfo,
    Item,
    Manager,
    Metrics,
    Result,
    ServerInfo,
    ServerState,
)
from crossfade.impls.config import (
    BreakerSpec,
    Config,
    GatewaySpec,
    PoolSpec,
    ServerSpec,
    load_config,
    parse_config,
    server_from_entry,
)
from crossfade.impls.errors import CrossfadeError
from crossfade.impls.variants import VARIANTS, Variant, missing, open_manager

__all__ = [
    "VARIANTS",
    "BreakerSpec",
    "CallResult",
    "CircuitState",
    "Config",
    "CrossfadeError",
    "Event",
    "Gateway",
    "GatewaySpec",
    "InstanceInfo",
    "Item",
    "Manager",
    "Metrics",
    "PoolSpec",
    "Result",
    "ServerInfo",
    "ServerSpec",
    "ServerState",
    "Variant",
    "load_config",
    "missing",
    "open_manager",
    "parse_config",
    "server_from_entry",
]
