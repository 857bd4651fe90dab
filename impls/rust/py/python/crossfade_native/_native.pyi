"""The compiled module, as ``mypy.stubtest`` checks it. JSON crosses as bytes; errors are ``crossfade.impls.errors``."""

from asyncio import AbstractEventLoop
from collections.abc import Callable, Generator
from collections.abc import Coroutine as _AbstractCoroutine
from contextvars import Context
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, TypedDict, TypeVar, final

__all__ = [
    "ABI",
    "CoreReplay",
    "Coroutine",
    "Gateway",
    "Manager",
    "Subscription",
    "_Inbox",
    "_Waiter",
    "bridge_probe",
    "bridge_probes_running",
    "build_info",
    "fleet_http",
    "fleet_stdio",
    "load_run",
    "policy_bench",
]

_T_co = TypeVar("_T_co", covariant=True)

ABI: int

class _BuildInfo(TypedDict):
    version: str
    profile: str
    features: tuple[str, ...]
    rustc: str
    abi: int
    workers: int

def build_info() -> _BuildInfo: ...

# -- the bridge

@final
class _Inbox:
    def drain(self) -> None: ...

@final
class _Waiter:
    _asyncio_future_blocking: bool
    def get_loop(self) -> AbstractEventLoop: ...
    def add_done_callback(
        self, callback: Callable[[_Waiter], object], /, *, context: Context | None = None
    ) -> None: ...
    def remove_done_callback(self, callback: Callable[[_Waiter], object]) -> int: ...
    def cancel(self, msg: Any | None = None) -> bool: ...
    def cancelled(self) -> bool: ...
    def done(self) -> bool: ...
    def result(self) -> None: ...
    def exception(self) -> None: ...

@final
class Coroutine(_AbstractCoroutine[_Waiter, None, _T_co]):
    """An awaitable that runs on tokio. Await it once; cancelling the awaiting task aborts the work."""

    @property
    def __name__(self) -> str: ...
    @property
    def __qualname__(self) -> str: ...
    @property
    def cr_running(self) -> bool: ...
    def __await__(self) -> Generator[_Waiter, None, _T_co]: ...
    def __next__(self) -> _Waiter: ...
    def send(self, value: None, /) -> _Waiter: ...
    def throw(
        self,
        kind: BaseException | type[BaseException],
        value: object = None,
        traceback: TracebackType | None = None,
        /,
    ) -> NoReturn: ...
    def close(self) -> None: ...

def bridge_probe(kind: str, payload: bytes = ..., server: str | None = None) -> Coroutine[bytes]:
    """Known work, for tests and for measuring what one await costs."""

def bridge_probes_running() -> int:
    """How many probes are alive on tokio."""

# -- the manager

@final
class Manager:
    """A manager on the process's one tokio runtime."""

    def __new__(cls, config: bytes, *, workers: int | None = None) -> Self: ...
    def start(self) -> Coroutine[None]: ...
    def close(self, drain_s: float) -> Coroutine[None]: ...
    def register(self, spec: bytes) -> Coroutine[bytes]: ...
    def unregister(self, name: str, drain_s: float) -> Coroutine[None]: ...
    def maintenance(self, name: str, on: bool, drain_s: float) -> Coroutine[bytes]: ...
    def deploy(self, spec: bytes) -> Coroutine[bytes]: ...
    def update(self, spec: bytes, strategy: str | None = None) -> Coroutine[bytes]: ...
    def scale(self, name: str, instances: int) -> Coroutine[bytes]: ...
    def rollback(self, name: str) -> Coroutine[bytes]: ...
    def settled(self, name: str) -> Coroutine[None]: ...
    def deployments(self) -> bytes: ...
    def undeploy(self, name: str, drain_s: float, keep: bool | None) -> Coroutine[None]: ...
    def storage(self) -> bytes: ...
    def get(self, name: str) -> bytes: ...
    def servers(self) -> bytes: ...
    def request(
        self,
        method: str,
        params: bytes,
        server: str | None = None,
        timeout_s: float | None = None,
        principal: str | None = None,
    ) -> Coroutine[bytes]: ...
    def list(
        self, kind: Literal["tools", "resources", "resource_templates", "prompts"], server: str | None = None
    ) -> Coroutine[bytes]: ...
    def health(self, server: str | None, timeout_s: float) -> Coroutine[bytes]: ...
    def metrics(self) -> bytes: ...
    def subscribe(self) -> Subscription: ...
    def serve(self, host: str, port: int) -> Coroutine[Gateway]: ...
    def serve_stdio(self) -> Coroutine[None]: ...

@final
class Gateway:
    """A running gateway face."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...
    def close(self, drain_s: float) -> Coroutine[None]: ...

@final
class Subscription:
    """A reader of events."""

    def next(self) -> Coroutine[bytes | None]: ...
    def close(self) -> None: ...

# -- the cores

@final
class CoreReplay:
    """One core of a kind in ``impls/vectors/SCHEMA.md``, stepped with JSON."""

    def __new__(cls, kind: str, config_json: str, seed: int) -> Self: ...
    def step(self, at_ns: int, op: str, args_json: str) -> str: ...

def policy_bench(op: str, iterations: int, size: int) -> int:
    """Nanoseconds for all iterations, with the interpreter released. Raises ValueError for an unknown ``op``."""

# -- the ruler: load and fleet; all of these release the interpreter, and only Ctrl-C, an error or the end returns

def load_run(plan: bytes, on_event: Callable[[str], object], /) -> bytes:
    """Runs a load plan (JSON); ``on_event`` gets each event as JSON; returns the result event as JSON.

    Raises ValueError for a broken plan and RuntimeError for whatever else stopped the run.
    """

def fleet_http(config: bytes, on_event: Callable[[str], object], /) -> None:
    """Serves the fleet over HTTP until standard input ends; commands come from there. Raises as ``load_run``."""

def fleet_stdio(config: bytes, /) -> None:
    """Serves the fleet over standard input and output until the input ends. Raises as ``load_run``."""
