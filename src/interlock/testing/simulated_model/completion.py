"""An answer as the protocol writes it: one body, or the events of a stream.

Nothing in it depends on time or chance, so the same answer has the same bytes.
Source: the OpenAI API reference, "Chat Completions".
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from interlock.testing.simulated_model.answer import Answer, AnswerCall
from interlock.testing.simulated_model.reply import Usage

__all__ = ["CREATED_SECONDS", "completion_body", "stream_events"]

# When every answer says that it was made, in seconds since 1970.
CREATED_SECONDS: Final = 1_700_000_000
_CHUNK_CHARACTERS: Final = 20
_DONE: Final = b"data: [DONE]\n\n"


def completion_body(answer: Answer) -> bytes:
    """The answer as one JSON body."""
    calls = [_call(call) for call in answer.calls]
    message = {"role": "assistant", "content": answer.text, "refusal": None}
    choice = {
        "index": 0,
        "message": {**message, "tool_calls": calls} if calls else message,
        "logprobs": None,
        "finish_reason": answer.finish_reason,
    }
    usage = {"usage": _usage(answer.usage)} if answer.usage_told else {}
    return _json({**_head(answer, "chat.completion"), "choices": [choice], **usage})


def stream_events(answer: Answer, *, usage_wanted: bool) -> tuple[bytes, ...]:
    """The answer as server-sent events, `[DONE]` included.

    Text and arguments come in pieces of 20 characters. `usage_wanted` is the request's
    `stream_options.include_usage`: one more event then tells the usage, and all others have `null`.
    """
    told = answer.usage_told and usage_wanted
    head = {**_head(answer, "chat.completion.chunk"), **({"usage": None} if told else {})}
    events = [_event({**head, "choices": [_delta(delta)]}) for delta in _deltas(answer)]
    events.append(_event({**head, "choices": [_delta({}, answer.finish_reason)]}))
    if told:
        events.append(_event({**head, "choices": [], "usage": _usage(answer.usage)}))
    return (*events, _DONE)


def _head(answer: Answer, kind: str) -> dict[str, Any]:
    return {"id": answer.id, "object": kind, "created": CREATED_SECONDS, "model": answer.model}


def _deltas(answer: Answer) -> Iterator[Mapping[str, Any]]:
    yield {"role": "assistant", "content": "" if answer.text is not None else None}
    for piece in _pieces(answer.text or ""):
        yield {"content": piece}
    for index, call in enumerate(answer.calls):
        yield {"tool_calls": [{"index": index, **_call(call._replace(arguments=""))}]}
        for piece in _pieces(call.arguments):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _pieces(text: str) -> Iterator[str]:
    for start in range(0, len(text), _CHUNK_CHARACTERS):
        yield text[start : start + _CHUNK_CHARACTERS]


def _delta(delta: Mapping[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _call(call: AnswerCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _usage(usage: Usage) -> dict[str, Any]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_tokens},
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
    }


def _event(data: Mapping[str, Any]) -> bytes:
    return b"data: " + _json(data) + b"\n\n"


def _json(value: Mapping[str, Any]) -> bytes:
    # ASCII, since a scenario may hold a lone surrogate, which has no UTF-8.
    return json.dumps(value, separators=(",", ":")).encode("ascii")
