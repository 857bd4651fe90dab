"""Is this answer the answer? The right id, no error, and what was asked for.

The rule: a wrong answer is never counted as a fast one. The kinds of failure are the keys of a result's ``errors``.
"""

from __future__ import annotations

import json
from typing import Any

from crossfade.harness.load_py.questions import Question


def judge(status: int, body: bytes, question: Question, notes: list[bytes]) -> tuple[str | None, int]:
    """The kind of error of an answer, or None, and how much progress came before it (``notes``)."""
    if status != 200:
        return f"http_{status}", 0
    try:
        tokens = [token for note in notes if (token := _progress_of(json.loads(note))) is not None]
        message = json.loads(body)
        # Somebody else's progress is a wrong answer, too.
        kind = _message(message, question) if set(tokens) <= {question.ident} else "mismatch"
    except (ValueError, KeyError, TypeError, AttributeError):
        return "garbage", 0
    return kind, len(tokens)


def _progress_of(note: dict[str, Any]) -> Any:
    return note["params"]["progressToken"] if note.get("method") == "notifications/progress" else None


def _message(message: dict[str, Any], question: Question) -> str | None:
    if "error" in message:
        return f"rpc_{int(message['error']['code'])}"
    result = message["result"]
    if message["id"] != question.ident:
        return "mismatch"
    if result.get("isError"):
        return "tool_error"
    if question.method == "list":
        # Whatever is listed, it is not nothing.
        return None if result.get("tools") else "mismatch"
    content = result.get("content" if question.method == "call" else "contents")
    if question.text is not None and (not content or content[0].get("text") != question.text):
        return "mismatch"
    return None
