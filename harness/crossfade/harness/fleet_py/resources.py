"""The resources of the Python fleet: one that is listed, and a template whose every URI reads as its own text.

The rule: like the echo, a read answers what it was asked, so that an answer to another read is found out.
"""

from __future__ import annotations

from typing import Any

RESOURCES = frozenset({"resources/list", "resources/templates/list", "resources/read"})
_PREFIX = "echo:///"
_PLAIN = {"mimeType": "text/plain"}
_LISTED = {"uri": f"{_PREFIX}hello", "name": "hello", **_PLAIN}
_TEMPLATE = {"uriTemplate": _PREFIX + "{text}", "name": "echo", "description": "Reads as its text.", **_PLAIN}


def resource(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """The result of a request for resources, or None if there is none."""
    if method == "resources/list":
        return {"resources": [_LISTED]}
    if method == "resources/templates/list":
        return {"resourceTemplates": [_TEMPLATE]}
    uri = params.get("uri")
    if method != "resources/read" or not isinstance(uri, str) or not uri.startswith(_PREFIX):
        return None
    return {"contents": [{"uri": uri, "text": uri.removeprefix(_PREFIX), **_PLAIN}]}
