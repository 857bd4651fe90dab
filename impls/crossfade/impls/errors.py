"""The one error tree: who is to blame, and what recovers, is in the type.

Every message names the culprit and ends with the next action. Both variants raise exactly these classes; the
native module maps its errors here in one file (``impls/rust/py/src/errors.rs``) by ``code``. The gateway turns each
into a JSON-RPC error with ``rpc_code`` and puts ``{"code", "server", "recovery"}`` into ``error.data``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal

Blame = Literal["caller", "config", "server", "manager"]
Recovery = Literal["retry", "failover", "break", "propagate"]


class CrossfadeError(Exception):
    """Root of everything crossfade raises on purpose.

    ``code`` is stable and machine-readable, ``blame`` says whose fault it is, ``recovery`` what a caller (or the
    manager itself) may do: ``retry`` the same instance, ``failover`` to another, ``break`` the circuit, ``propagate``.
    """

    code: ClassVar[str] = "error"
    blame: ClassVar[Blame] = "manager"
    recovery: ClassVar[Recovery] = "propagate"
    rpc_code: ClassVar[int] = -32603

    def __init__(self, message: str, *, server: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.server = server


class ConfigError(CrossfadeError):
    """The configuration is wrong; the message names file and key."""

    code, blame, rpc_code = "config", "config", -32602


class VariantUnavailable(CrossfadeError):
    """A variant was asked for and is not installed; it is never replaced by another."""

    code, blame = "variant_unavailable", "config"


class ServerNotFound(CrossfadeError):
    """No server of that name is registered."""

    code, blame, rpc_code = "server_not_found", "caller", -32602


class ServerExists(CrossfadeError):
    """A server of that name is registered already."""

    code, blame, rpc_code = "server_exists", "caller", -32602


class UnknownTarget(CrossfadeError):
    """No server offers that tool, prompt or resource."""

    code, blame, rpc_code = "unknown_target", "caller", -32602


class ManagerClosed(CrossfadeError):
    """The manager was not started or is closed."""

    code, blame = "manager_closed", "caller"


class AddressInUse(CrossfadeError):
    """The address to serve on cannot be bound."""

    code, blame = "address_in_use", "config"


class ServerError(CrossfadeError):
    """An upstream server did something wrong. Counts against its breaker."""

    code = "server_error"
    blame: ClassVar[Blame] = "server"
    recovery: ClassVar[Recovery] = "failover"


class ServerStartError(ServerError):
    """The command does not exist, ended at start, the URL refused, or no MCP era could be agreed on."""

    code = "server_start"


class CrashLoop(ServerStartError):
    """The child ended too often in too short a time and is not started again for now."""

    code, recovery = "crash_loop", "break"


class ServerCrashed(ServerError):
    """The connection or child ended while a request was in flight."""

    code = "server_crashed"


class ServerTimeout(ServerError):
    """No answer within the request's deadline."""

    code, recovery = "server_timeout", "break"


class ProtocolViolation(ServerError):
    """The server sent what is not JSON, not JSON-RPC, or more than the limit."""

    code, recovery = "protocol_violation", "break"


class Overloaded(CrossfadeError):
    """The manager refuses work it could not finish in time."""

    code = "overloaded"
    blame: ClassVar[Blame] = "manager"
    recovery: ClassVar[Recovery] = "retry"


class PoolTimeout(Overloaded):
    """No connection became free before the deadline, or too many callers wait already."""

    code = "pool_timeout"


class CircuitOpen(Overloaded):
    """The server's breaker is open; nothing was sent."""

    code, blame, recovery = "circuit_open", "server", "failover"


class RateLimited(Overloaded):
    """A rate limit of the server, the tool or the caller is used up; ``retry_after_ms`` until the next is admitted."""

    code, blame = "rate_limited", "caller"

    def __init__(self, message: str, *, server: str | None = None, retry_after_ms: int = 0) -> None:
        super().__init__(message, server=server)
        self.retry_after_ms = retry_after_ms


class BulkheadFull(Overloaded):
    """As many requests as allowed are with the server, and the queue is full or took too long."""

    code = "bulkhead_full"


class LoadShed(Overloaded):
    """The manager as a whole has more work than it can finish in time."""

    code = "load_shed"


class ServerUnavailable(CrossfadeError):
    """The server is in maintenance."""

    code, blame, recovery = "server_unavailable", "server", "failover"


class StorageExhausted(CrossfadeError):
    """A claim is larger than what its storage pool has left, or there is no such pool."""

    code, blame, rpc_code = "storage_exhausted", "config", -32602


class DeploymentFailed(CrossfadeError):
    """The new revision did not pass its gates and was rolled back; the message says which gate and why."""

    code = "deployment_failed"
    blame: ClassVar[Blame] = "server"


class DeploymentBusy(CrossfadeError):
    """An update or scaling of this server is under way already."""

    code, blame, recovery = "deployment_busy", "caller", "retry"


class RemoteError(CrossfadeError):
    """The server answered with a JSON-RPC error: its code, message and data pass through untouched."""

    code, blame = "remote", "server"

    def __init__(self, message: str, *, server: str | None = None, remote_code: int = -32603, data: Any = None) -> None:
        super().__init__(message, server=server)
        self.remote_code = remote_code
        self.data = data


def _tree(cls: type[CrossfadeError]) -> dict[str, type[CrossfadeError]]:
    found = {cls.code: cls}
    for child in cls.__subclasses__():
        found.update(_tree(child))
    return found


BY_CODE: dict[str, type[CrossfadeError]] = _tree(CrossfadeError)
"""Every class of the tree by its ``code``; what the native module's map is checked against."""
