"""What a server sent, read as the protocol has it: one JSON object, or a stream of events (SSE) that says when it ends.

What is not as it should be is told in words that go into the ledger, so none of them holds more than a line of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any


class UnreadableError(ValueError):
    """What came is no answer, or not a whole one."""


@dataclass(frozen=True, slots=True)
class Reply:
    """The text of an answer, why it ended, and the tokens that the server counted; None where it did not say."""

    text: str
    finish_reason: str
    input_tokens: int | None
    output_tokens: int | None


def read(data: bytes, content_type: str) -> Reply:
    """The reply in a whole body; `UnreadableError` where there is none."""
    if content_type.partition(";")[0].strip().lower() == "text/event-stream":
        return _of_events(data)
    answer = _object(data)
    choice = _choice(answer)
    if choice is None:
        raise UnreadableError(f"no choices in it: {_shown(data)}")
    message = choice.get("message")
    if not isinstance(message, dict):
        raise UnreadableError("no message in it")
    return _reply(_text(message), _text(message, "refusal"), choice.get("finish_reason"), answer.get("usage"))


def _of_events(data: bytes) -> Reply:
    text, refusal = [], []
    reason: Any = None
    usage: Any = None
    events, is_done = _events(data)
    for chunk in events:
        if "error" in chunk:
            raise UnreadableError(f"an error in the stream: {_shown(json.dumps(chunk).encode())}")
        usage = chunk.get("usage") or usage
        choice = _choice(chunk)
        if choice is None:  # the last one, with the usage
            continue
        delta = choice.get("delta") or {}
        if not isinstance(delta, dict):
            raise UnreadableError("no delta in it")
        text.append(_text(delta))
        if "refusal" in delta:
            refusal.append(_text(delta, "refusal"))
        reason = choice.get("finish_reason") or reason
    if reason is None:
        raise UnreadableError("the stream ended without a finish_reason" if is_done else "the stream was cut")
    return _reply("".join(text), "".join(refusal), reason, usage)


def _events(data: bytes) -> tuple[list[dict[str, Any]], bool]:
    """The objects of a stream, and whether it says that it is at its end."""
    events = [line[5:].strip() for line in data.splitlines() if line.startswith(b"data:")]
    is_done = b"[DONE]" in events
    if is_done:
        del events[events.index(b"[DONE]") :]
    try:  # all at once: a server that sends a token at a time sends hundreds
        found = json.loads(b"[%b]" % b",".join(events))
    except (ValueError, RecursionError):
        found = []
    if len(found) != len(events) or not all(isinstance(event, dict) for event in found):
        found = [_object(event) for event in events]
    return found, is_done


def _reply(text: str, refusal: str, reason: Any, usage: Any) -> Reply:
    if not isinstance(reason, str):
        raise UnreadableError("no finish_reason in it")
    counts: list[int | None] = []
    for name in ("prompt_tokens", "completion_tokens"):
        count = usage.get(name) if isinstance(usage, dict) else None
        counts.append(count if type(count) is int and count >= 0 else None)
    return Reply(_whole(refusal or text), "refusal" if refusal else _whole(reason[:40]), *counts)


def _object(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"not JSON: {_shown(data)}") from error
    if not isinstance(found, dict):
        raise UnreadableError(f"no object: {_shown(data)}")
    return found


def _choice(answer: dict[str, Any]) -> dict[str, Any] | None:
    choices = answer.get("choices")
    return choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else None


def _text(message: dict[str, Any], key: str = "content") -> str:
    text = message.get(key)
    return text if isinstance(text, str) else ""


def _whole(text: str) -> str:
    """The text without halves of surrogate pairs: two that follow each other, in two pieces perhaps, are one sign."""
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _shown(data: bytes) -> str:
    text = data[:200].decode("utf-8", "replace")
    return json.dumps(text if len(data) <= 200 else f"{text}…", ensure_ascii=False)
