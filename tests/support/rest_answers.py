"""What Poe's three REST endpoints answer to a chat, streamed, as a ``ScriptedPoe`` says it."""

import json
from typing import Any, Final

from tests.support.scripted_poe import Reply, Step, event

#: What every answer here reports: prompt, of it cached, answer.
PROMPT, CACHED, COMPLETION = 1_200, 1_024, 7
_HEADERS: Final = {"content-type": "text/event-stream; charset=utf-8", "x-ratelimit-limit-requests": "500"}


def listed(name: str, owner: str, *endpoints: str) -> dict[str, Any]:
    """An entry of Poe's list: a model with these endpoints that calls tools."""
    return {
        "id": name.lower(),
        "owned_by": owner,
        "metadata": {"display_name": name},
        "supported_features": ["tools"],
        "supported_endpoints": [f"/v1/{endpoint}" for endpoint in endpoints],
        "architecture": {"output_modalities": ["text"]},
        "context_window": {"context_length": 200_000, "max_output_tokens": 64_000},
    }


def data(payload: object) -> bytes:
    """One event without a name."""
    return f"data: {json.dumps(payload)}\n\n".encode()


def chat_chunk(delta: dict[str, Any], reason: str | None = None, **more: Any) -> bytes:
    """One chunk."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    return data({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "a-2026", "choices": [choice], **more})


def chat_steps(*texts: str) -> list[Step]:
    """The events of an answer in text."""
    usage = {
        "prompt_tokens": PROMPT,
        "completion_tokens": COMPLETION,
        "total_tokens": PROMPT + COMPLETION,
        "prompt_tokens_details": {"cached_tokens": CACHED},
        "completion_tokens_details": None,
    }
    return [
        chat_chunk({"role": "assistant", "content": ""}),
        *(chat_chunk({"content": text}) for text in texts),
        chat_chunk({}, "stop"),
        data({"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "a-2026", "choices": [], "usage": usage}),
        b"data: [DONE]\n\n",
    ]


def messages_steps(*texts: str) -> list[Step]:
    """The events of an answer in text."""
    usage = {
        "input_tokens": PROMPT - CACHED,
        "cache_read_input_tokens": CACHED,
        "cache_creation_input_tokens": 0,
        "output_tokens": 1,
    }
    message = {"id": "req_poe_1", "type": "message", "role": "assistant", "model": "a-2026", "content": []}
    return [
        event("message_start", {"type": "message_start", "message": {**message, "usage": usage}}),
        event(
            "content_block_start",
            {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}},
        ),
        *(
            event(
                "content_block_delta",
                {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}},
            )
            for text in texts
        ),
        event("content_block_stop", {"type": "content_block_stop", "index": 0}),
        event(
            "message_delta",
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {"output_tokens": COMPLETION},
            },
        ),
        event("message_stop", {"type": "message_stop"}),
    ]


def responses_steps(*texts: str) -> list[Step]:
    """The events of an answer in text."""
    usage = {
        "input_tokens": PROMPT,
        "input_tokens_details": {"cached_tokens": CACHED},
        "output_tokens": COMPLETION,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": PROMPT + COMPLETION,
    }
    part = {"type": "output_text", "text": "".join(texts), "annotations": []}
    item = {"id": "msg_1", "type": "message", "role": "assistant", "status": "completed", "content": [part]}
    response = {"id": "resp_1", "object": "response", "model": "a-2026", "status": "completed", "output": [item]}
    begun = {**item, "status": "in_progress", "content": []}
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    events: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.content_part.added", **place, "part": {**part, "text": ""}},
        *({"type": "response.output_text.delta", **place, "delta": text} for text in texts),
        {"type": "response.output_text.done", **place, "text": part["text"]},
        {"type": "response.content_part.done", **place, "part": part},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {**response, "usage": usage}},
    ]
    return [event(one["type"], {"sequence_number": at, **one}) for at, one in enumerate(events)]


STEPS: Final = {
    "/v1/chat/completions": chat_steps,
    "/v1/messages": messages_steps,
    "/v1/responses": responses_steps,
}


def rest_answer(path: str, *texts: str) -> Reply:
    """An answer in text of the endpoint at this path, a piece an event."""
    return Reply(STEPS[path](*texts), headers=_HEADERS)
