"""What clients make of a stream of responses: the events, strictly typed, and what OpenAI's library gathers of them."""

import json
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

from openai import omit
from openai._models import construct_type
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import BaseModel, TypeAdapter

from proxy.core.deltas import Batch, Delta
from proxy.dialects.openai_responses.names import ToolName
from proxy.dialects.openai_responses.response import ResponseWriter

NAMES = {
    "look": ToolName("function", "look"),
    "crm__find": ToolName("function", "find", "crm"),
    "apply_patch": ToolName("custom", "apply_patch"),
    "say": ToolName("custom", "say"),
    "tool_search": ToolName("tool_search", "tool_search"),
}
REQUEST_FIELDS = (
    b'"background":false,"instructions":null,"max_output_tokens":null,"metadata":{},"parallel_tool_calls":true,'
    b'"previous_response_id":null,"store":false,"temperature":null,"tool_choice":"auto","tools":[],"top_p":null'
)
#: Codes that OpenAI's types do not know, and Codex does.
CODEX_CODES = {"insufficient_quota", "model_not_found", "context_length_exceeded"}
CREATED = 1_700_000_000
#: What OpenAI sends and its types do not know: of a response, of ``function_call_arguments.done``, of a custom call.
#: The last two are Codex's, of a hosted search.
_MORE = {"store", "name", "status", "external_web_access", "search_content_types"}


def writer(*, with_token: bool = False) -> ResponseWriter:
    return ResponseWriter(
        response_id="resp_1",
        created=CREATED,
        model="Echo",
        request_fields=REQUEST_FIELDS,
        names=NAMES,
        with_token=with_token,
        clock=lambda: CREATED + 1,
    )


def events_of(stream: bytes) -> list[dict[str, Any]]:
    """The events, each of which names its kind twice."""
    events = []
    for block in stream.decode().split("\n\n")[:-1]:
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def streamed(deltas: Sequence[Delta], *, with_token: bool = False) -> list[dict[str, Any]]:
    """The events of an answer, each delta a batch of its own."""
    one = writer(with_token=with_token)
    return events_of(b"".join(one.write(Batch(0, [delta])) for delta in deltas))


def strictly(kind: Any, value: dict[str, Any]) -> Any:
    """``value`` as one of OpenAI's types: those let unknown fields pass, this does not."""
    read = _adapter(kind).validate_python(value)
    assert set(_unknown(read)) <= _MORE, value
    return read


def check_events(events: Iterable[dict[str, Any]]) -> None:
    """Each event has OpenAI's form, and they are numbered."""
    for number, event in enumerate(events):
        assert event["sequence_number"] == number
        if event["type"] == "response.failed" and event["response"]["error"]["code"] in CODEX_CODES:
            failed = {**event["response"], "error": {**event["response"]["error"], "code": "server_error"}}
            strictly(ResponseStreamEvent, {**event, "response": failed})
        else:
            strictly(ResponseStreamEvent, event)


def items_of(response: Response) -> list[dict[str, Any]]:
    """The items of a response, without what OpenAI's library adds to them."""
    return [_plain(item.model_dump()) for item in response.output]


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items() if not name.startswith("parsed")}
    return value


def gathered(events: Iterable[dict[str, Any]]) -> Response:
    """What OpenAI's library makes of the stream."""
    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    for event in events:
        state.handle_event(construct_type(type_=ResponseStreamEvent, value=event))
    response: Response = state._completed_response  # noqa: SLF001 - what ``get_final_response`` returns
    return response


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    """To build one for all events takes a second."""
    return TypeAdapter(kind)


def _unknown(value: object) -> list[str]:
    if isinstance(value, list):
        return [name for one in value for name in _unknown(one)]
    if not isinstance(value, BaseModel):
        return []
    inside = [name for one in dict(value).values() for name in _unknown(one)]
    return [*(value.model_extra or {}), *inside]
