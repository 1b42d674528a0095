"""The events that build up one item of a response, in OpenAI's order."""

from collections.abc import Callable, Iterator
from typing import Final

from proxy.demo.rest.answering import halves, pieces
from proxy.demo.rest.asked import Json


def events_of_item(item: Json, index: int) -> Iterator[Json]:
    """The item's events, from its beginning to its end."""
    place: Json = {"item_id": item["id"], "output_index": index}
    begun, grow = _GROWING[item["type"]]
    first = item | begun | ({"status": "in_progress"} if "status" in item else {})
    yield {"type": "response.output_item.added", "output_index": index, "item": first}
    yield from grow(item, place)
    yield {"type": "response.output_item.done", "output_index": index, "item": item}


def _grow_reasoning(item: Json, place: Json) -> Iterator[Json]:
    for at, part in enumerate(item["summary"]):
        where = place | {"summary_index": at}
        name = "response.reasoning_summary"
        yield {"type": f"{name}_part.added", **where, "part": part | {"text": ""}}
        for piece in pieces(part["text"]):
            yield {"type": f"{name}_text.delta", **where, "delta": piece}
        yield {"type": f"{name}_text.done", **where, "text": part["text"]}
        yield {"type": f"{name}_part.done", **where, "part": part}


def _grow_message(item: Json, place: Json) -> Iterator[Json]:
    for at, part in enumerate(item["content"]):
        where = place | {"content_index": at}
        yield {"type": "response.content_part.added", **where, "part": part | {"text": ""}}
        for piece in pieces(part["text"]):
            yield {"type": "response.output_text.delta", **where, "delta": piece, "logprobs": []}
        yield {"type": "response.output_text.done", **where, "text": part["text"], "logprobs": []}
        yield {"type": "response.content_part.done", **where, "part": part}


def _grow_call(item: Json, place: Json) -> Iterator[Json]:
    name = "response.function_call_arguments"
    for half in halves(item["arguments"]):
        yield {"type": f"{name}.delta", **place, "delta": half}
    yield {"type": f"{name}.done", **place, "name": item["name"], "arguments": item["arguments"]}


#: type of an item → its fields at the beginning, and the events between its beginning and its end.
_GROWING: Final[dict[str, tuple[Json, Callable[[Json, Json], Iterator[Json]]]]] = {
    "reasoning": ({"summary": []}, _grow_reasoning),
    "message": ({"content": []}, _grow_message),
    "function_call": ({"arguments": ""}, _grow_call),
}
