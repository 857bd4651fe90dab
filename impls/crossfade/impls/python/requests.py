"""Owns the manager's MCP calls: from a name or URI to its server, and through ``send`` to the answer.

Rule: every request of a caller, in process or at the gateway's long way, goes through ``send``: there it is admitted
once, and what fails is counted by its code.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import msgspec

from crossfade.impls.api import Manager
from crossfade.impls.errors import CrossfadeError, RemoteError
from crossfade.impls.python.ask import Ticket
from crossfade.impls.python.gateway.principal import ANONYMOUS
from crossfade.impls.python.jsonrpc import HEADER_MISMATCH
from crossfade.impls.results import CallResult, Item, Result

if TYPE_CHECKING:
    from crossfade.impls.python.catalog import Catalog
    from crossfade.impls.python.dedicated import Dedicated
    from crossfade.impls.python.metrics import Stats
    from crossfade.impls.python.server import Server
    from crossfade.impls.python.voice import Voice


class Serving(Protocol):
    """Called with method, params, and what answers them; it may change the params' ``_meta``."""

    def __call__(
        self, method: str, params: bytes, work: Callable[[bytes], Awaitable[bytes | None]], /
    ) -> Awaitable[bytes | None]:
        """The result, or None for an unknown method."""


class Requests(Manager):
    """The part of the manager that asks."""

    catalog: Catalog
    stats: Stats
    serving: ClassVar[Serving | None] = None
    """Stands around every request of a gateway's client, if there are spans (``crossfade.impls.tracing``)."""

    def _check_open(self) -> None:
        """Raises ManagerClosed."""
        raise NotImplementedError

    async def list_tools(self, server: str | None = None) -> list[Item]:
        return await self._list("tools/list", server)

    async def list_resources(self, server: str | None = None) -> list[Item]:
        return await self._list("resources/list", server)

    async def list_resource_templates(self, server: str | None = None) -> list[Item]:
        return await self._list("resources/templates/list", server)

    async def list_prompts(self, server: str | None = None) -> list[Item]:
        return await self._list("prompts/list", server)

    async def _list(self, method: str, server: str | None) -> list[Item]:
        self._check_open()
        return await self.catalog.items(method, server, principal=ANONYMOUS)

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, Any] | msgspec.Raw | None = None,
        *,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> CallResult:
        self._check_open()
        server, own = await self.catalog.resolve(name, "tools/list")
        fields = {"name": own, "arguments": {} if arguments is None else arguments}
        return CallResult(
            await self.send(server, "tools/call", fields, timeout_s=timeout_s, meta=meta, name=own, principal=principal)
        )

    async def read_resource(
        self,
        uri: str,
        *,
        server: str | None = None,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> Result:
        self._check_open()
        owner = await self.catalog.owner(uri, server)
        options: dict[str, Any] = {"timeout_s": timeout_s, "meta": meta, "name": uri, "principal": principal}
        return Result(await self.send(owner, "resources/read", {"uri": uri}, **options))

    async def get_prompt(
        self,
        name: str,
        arguments: Mapping[str, str] | None = None,
        *,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> Result:
        self._check_open()
        server, own = await self.catalog.resolve(name, "prompts/list")
        fields: dict[str, Any] = {"name": own}
        if arguments is not None:
            fields["arguments"] = arguments
        options: dict[str, Any] = {"timeout_s": timeout_s, "meta": meta, "name": own, "principal": principal}
        return Result(await self.send(server, "prompts/get", fields, **options))

    async def complete(
        self,
        ref: Mapping[str, Any],
        argument: Mapping[str, str],
        *,
        server: str | None = None,
        context: Mapping[str, Any] | None = None,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        principal: str | None = None,
    ) -> Result:
        self._check_open()
        owner, own_ref = await self.completion_target(ref, server)
        fields: dict[str, Any] = {"ref": own_ref, "argument": argument}
        if context is not None:
            fields["context"] = context
        options: dict[str, Any] = {"timeout_s": timeout_s, "meta": meta, "principal": principal}
        return Result(await self.send(owner, "completion/complete", fields, **options))

    async def completion_target(self, ref: Mapping[str, Any], server: str | None) -> tuple[Server, dict[str, Any]]:
        """Who completes ``ref``, and the ref in the server's own words."""
        name = ref.get("name")
        if ref.get("type") == "ref/prompt" and isinstance(name, str):
            owner, own = await self.catalog.resolve(name, "prompts/list", server)
            return owner, {**ref, "name": own}
        return await self.catalog.owner(str(ref.get("uri")), server), dict(ref)

    async def send(
        self,
        server: Server,
        method: str,
        fields: Mapping[str, object],
        *,
        timeout_s: float | None = None,
        meta: Mapping[str, Any] | None = None,
        name: str | None = None,
        sessions: Dedicated | None = None,
        session: str | None = None,
        principal: str | None = None,
        ticket: Ticket | None = None,
        voice: Voice | None = None,
    ) -> bytes:
        """One request to a server on behalf of ``principal``, with what fails counted by code. ``ticket`` says what it
        has behind it already; ``voice`` is told what the server says before its answer.

        A modern HTTP server may want arguments in headers, and says so in the tool's definition. One that was never
        listed refuses the call with HeaderMismatch; then the list is read and the call sent again (streamable-http,
        "Client Behavior").
        """
        options: dict[str, Any] = {"timeout_s": timeout_s, "meta": meta, "name": name, "sessions": sessions}
        headed = method == "tools/call" and server.spec.transport == "http" and name is not None
        calls = server.calls
        try:
            if not calls.plain:
                who, tool = principal or ANONYMOUS, name if method == "tools/call" else None
                if ticket is None or not ticket.admitted:
                    calls.admit(tool, who)
                options["key"] = calls.key(session, who, tool)
            options["ticket"] = ticket = ticket or Ticket()
            options["principal"] = principal
            options["voice"] = voice
            if not headed:
                return await server.calls.request(method, fields, **options)
            extra = self.catalog.param_headers(server.spec.name, name or "", fields.get("arguments"))
            try:
                return await server.calls.request(method, fields, **options, extra=extra)
            except RemoteError as error:
                if error.remote_code != HEADER_MISMATCH:
                    raise
            await self.catalog.items("tools/list", server.spec.name)
            extra = self.catalog.param_headers(server.spec.name, name or "", fields.get("arguments"))
            return await server.calls.request(method, fields, **options, extra=extra)
        except CrossfadeError as error:
            self.stats.errors_by_code[error.code] += 1
            raise
