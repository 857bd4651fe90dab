"""Configuration, validated once, in Python, for every variant. ``files`` reads it, the others say what is in it."""

from crossfade.impls.config.files import load_config, parse_config, server_from_entry
from crossfade.impls.config.policies import (
    BreakerSpec,
    BulkheadSpec,
    CacheSpec,
    DedicatedSpec,
    DeploySpec,
    HealthSpec,
    HedgeSpec,
    PoolSpec,
    RateLimitSpec,
    RestartSpec,
    RetrySpec,
)
from crossfade.impls.config.root import Config, GatewaySpec, ShedSpec, StoragePoolSpec, TelemetrySpec
from crossfade.impls.config.server import MAX_INSTANCES, NameFilter, ServerSpec, StorageClaim, check_replicas

__all__ = [
    "MAX_INSTANCES",
    "BreakerSpec",
    "BulkheadSpec",
    "CacheSpec",
    "Config",
    "DedicatedSpec",
    "DeploySpec",
    "GatewaySpec",
    "HealthSpec",
    "HedgeSpec",
    "NameFilter",
    "PoolSpec",
    "RateLimitSpec",
    "RestartSpec",
    "RetrySpec",
    "ServerSpec",
    "ShedSpec",
    "StorageClaim",
    "StoragePoolSpec",
    "TelemetrySpec",
    "check_replicas",
    "load_config",
    "parse_config",
    "server_from_entry",
]
