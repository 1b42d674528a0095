"""Whatever events a server of the Responses API sends: nothing is lost, nothing doubled, and no failure but Poe's."""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import orjson
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.deltas import ContentDelta, Delta, ReasoningDelta, RefusalDelta, ThinkingSignature, ToolCallDelta
from proxy.core.failures import PoeError
from proxy.upstreams.poe.json_text import written_json
from proxy.upstreams.poe.sse import EventSplitter
from proxy.upstreams.poe_rest.responses_decoder import ResponsesDecoder

Said = dict[str, Any]


class Server(NamedTuple):
    """How a server sends a response. What it leaves out of events is in others."""

    ids: str
    has_indexes: bool
    announces: bool
    has_deltas: bool
    ends_texts: bool
    ends_parts: bool
    ends_items: bool
    lists_items: bool
    names_types: bool

    @property
    def is_enough(self) -> bool:
        """Whether each thing is in some event, and it can be seen of which item it is."""
        has_items = self.announces and self.ends_items
        can_tell = self.has_indexes or self.ids == "true" or (self.ids == "none" and has_items)
        return can_tell and (self.ends_items or self.lists_items)


SERVERS = st.builds(
    Server,
    ids=st.sampled_from(["true", "none", "new each time"]),
    has_indexes=st.booleans(),
    announces=st.booleans(),
    has_deltas=st.booleans(),
    ends_texts=st.booleans(),
    ends_parts=st.booleans(),
    ends_items=st.booleans(),
    lists_items=st.booleans(),
    names_types=st.booleans(),
).filter(lambda server: server.is_enough)

_TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
_PARTS = st.lists(st.tuples(st.sampled_from(["output_text", "refusal"]), _TEXT), max_size=3)
_ITEMS = st.lists(
    st.one_of(
        st.builds(lambda parts: {"type": "message", "parts": parts}, _PARTS),
        st.builds(
            lambda texts, signature: {"type": "reasoning", "texts": texts, "signature": signature},
            st.lists(_TEXT, max_size=3),
            st.sampled_from([None, "gAAA"]),
        ),
        st.builds(lambda arguments: {"type": "function_call", "arguments": f"[{arguments!r}]"}, _TEXT),
    ),
    max_size=5,
)


def _item(said: Said, at: int) -> Said:
    """The item as OpenAI has it."""
    kind = said["type"]
    item = {"type": kind, "id": f"{kind}_{at}"}
    if kind == "message":
        names = {"output_text": "text", "refusal": "refusal"}
        return {**item, "content": [{"type": part, names[part]: text} for part, text in said["parts"]]}
    if kind == "reasoning":
        summary = [{"type": "summary_text", "text": text} for text in said["texts"]]
        return {**item, "summary": summary, "encrypted_content": said["signature"]}
    return {**item, "call_id": f"call_{at}", "name": "look", "arguments": said["arguments"]}


class Stream:
    """The events of one response, from such a server."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._numbers = itertools.count()

    def events(self, items: Sequence[Said]) -> Iterator[tuple[str, Said]]:
        for at, item in enumerate(items):
            yield from self._item(item, at)
        listed = [self._renamed(item) for item in items] if self._server.lists_items else None
        yield "response.completed", {"response": {"status": "completed", "output": listed}}

    def _item(self, item: Said, at: int) -> Iterator[tuple[str, Said]]:
        index = {"output_index": at} if self._server.has_indexes else {}
        if self._server.announces:
            empty = {"summary": [], "content": [], "arguments": ""}
            begun = {**item, **{name: value for name, value in empty.items() if name in item}}
            yield "response.output_item.added", {**index, "item": self._renamed(begun)}
        for kind, where, name, part in self._texts(item):
            yield from self._text(kind, {**index, **where}, name, part, item)
        if self._server.ends_items:
            yield "response.output_item.done", {**index, "item": self._renamed(item)}

    def _texts(self, item: Said) -> Iterator[tuple[str, Said, str, Said]]:
        for at, part in enumerate(item.get("summary", ())):
            yield "reasoning_summary_text", {"summary_index": at}, "text", part
        for at, part in enumerate(item.get("content", ())):
            yield part["type"], {"content_index": at}, "text" if "text" in part else "refusal", part
        if "arguments" in item:
            yield "function_call_arguments", {}, "arguments", item

    def _text(self, kind: str, where: Said, name: str, part: Said, item: Said) -> Iterator[tuple[str, Said]]:
        text = part[name]
        if self._server.has_deltas:
            for piece in (text[: len(text) // 2], text[len(text) // 2 :]):
                yield f"response.{kind}.delta", {**where, **self._id(item), "delta": piece}
        if self._server.ends_texts:
            yield f"response.{kind}.done", {**where, **self._id(item), name: text}
        if self._server.ends_parts and kind != "function_call_arguments":
            end = "reasoning_summary_part" if "summary_index" in where else "content_part"
            yield f"response.{end}.done", {**where, **self._id(item), "part": part}

    def _id(self, item: Said) -> Said:
        named = self._renamed(item)
        return {"item_id": named["id"]} if "id" in named else {}

    def _renamed(self, item: Said) -> Said:
        if self._server.ids == "true":
            return item
        nameless = {name: value for name, value in item.items() if name != "id"}
        return nameless if self._server.ids == "none" else {**nameless, "id": f"x{next(self._numbers)}"}


def _body(server: Server, items: Sequence[Said]) -> bytes:
    written = b""
    for kind, said in Stream(server).events(items):
        data = orjson.dumps({"type": kind, **said} if server.names_types else said)
        written += b"event: %b\ndata: %b\n\n" % (kind.encode(), data)
    return written


def _deltas(body: bytes, cuts: Sequence[int]) -> list[Delta]:
    splitter, decoder = EventSplitter(), ResponsesDecoder()
    places = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    reads = [splitter.feed(body[begin:end]) for begin, end in itertools.pairwise(places)]
    deltas = [delta for read in (*reads, splitter.finish()) for event in read for delta in decoder.read_event(event)]
    return deltas + decoder.end_of_body()


def _joined(deltas: Sequence[Delta]) -> dict[str, Any]:
    """What the deltas come to. Blank lines between thoughts are ours."""
    calls: dict[int, tuple[str, str]] = {}
    for delta in deltas:
        if isinstance(delta, ToolCallDelta):
            call_id, arguments = calls.get(delta.position, ("", ""))
            calls[delta.position] = (call_id + delta.id, arguments + delta.arguments)
    thoughts = [delta.text.removeprefix("\n\n") for delta in deltas if isinstance(delta, ReasoningDelta)]
    return {
        "text": "".join(delta.text for delta in deltas if isinstance(delta, ContentDelta)),
        "refusal": "".join(delta.text for delta in deltas if isinstance(delta, RefusalDelta)),
        "thoughts": "".join(thoughts),
        "signatures": sum(isinstance(delta, ThinkingSignature) for delta in deltas),
        "calls": [calls[position] for position in sorted(calls)],
    }


@given(SERVERS, _ITEMS, st.lists(st.integers(0, 4_000), max_size=20))
def test_nothing_is_lost_and_nothing_doubled(server: Server, said: list[Said], cuts: list[int]) -> None:
    items = [_item(one, at) for at, one in enumerate(said)]
    parts = [part for one in said for part in one.get("parts", ())]

    assert _joined(_deltas(_body(server, items), cuts)) == {
        "text": "".join(text for kind, text in parts if kind == "output_text"),
        "refusal": "".join(text for kind, text in parts if kind == "refusal"),
        "thoughts": "".join(text for one in said for text in one.get("texts", ())),
        "signatures": sum(one.get("signature") is not None for one in said),
        "calls": [(item["call_id"], item["arguments"]) for item in items if item["type"] == "function_call"],
    }


@given(_ITEMS)
def test_a_whole_answer_comes_to_the_same_as_a_streamed_one(said: list[Said]) -> None:
    items = [_item(one, at) for at, one in enumerate(said)]
    streamed = Server("true", *[True] * 8)

    whole = ResponsesDecoder().read_whole({"status": "completed", "output": items})

    assert _joined(whole) == _joined(_deltas(_body(streamed, items), []))


_KINDS = st.sampled_from(
    [
        *(
            f"response.{kind}.{what}"
            for kind in (
                *("output_text", "refusal", "reasoning_summary_text", "reasoning_text", "function_call_arguments"),
                *("output_item", "content_part", "reasoning_summary_part"),
            )
            for what in ("added", "delta", "done")
        ),
        *("response.completed", "response.incomplete", "response.failed", "error", "x", ""),
    ]
)
_WORDS = st.sampled_from(
    [
        "type",
        "id",
        "item",
        "item_id",
        "call_id",
        "name",
        "arguments",
        "delta",
        "text",
        "refusal",
        "part",
        "result",
        "output_index",
        "content_index",
        "summary_index",
        "content",
        "summary",
        "encrypted_content",
        "response",
        "output",
        "usage",
        "status",
        "error",
        "incomplete_details",
        "input_tokens",
        "input_tokens_details",
        "code",
    ]
)
_VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 2**64),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(st.characters(codec="utf-8"), max_size=3),
        st.sampled_from(["message", "reasoning", "function_call", "image_generation_call", "output_text", "failed"]),
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_WORDS, inner, max_size=6)),
    max_leaves=12,
)
_EVENTS = st.builds(
    lambda name, kind, said: (name, written_json({"type": kind, **said} if kind else said)),
    _KINDS,
    _KINDS,
    st.dictionaries(_WORDS, _VALUES, max_size=8),
)


@given(st.lists(st.one_of(_EVENTS, st.tuples(_KINDS, st.binary(max_size=20))), max_size=6))
def test_events_without_sense_are_a_failure_of_poes_or_nothing(events: list[tuple[str, bytes]]) -> None:
    body = b"".join(b"event: %b\ndata: %b\n\n" % (name.encode(), data) for name, data in events)
    try:
        deltas = _deltas(body, [])
    except PoeError:
        return
    assert all(isinstance(delta, tuple) for delta in deltas)


@given(st.dictionaries(_WORDS, _VALUES, max_size=8), st.lists(_VALUES, max_size=4))
def test_whole_answers_without_sense_are_a_failure_of_poes_or_nothing(body: Said, output: list[Any]) -> None:
    for said in (body, {**body, "status": "completed", "error": None, "output": output}):
        try:
            ResponsesDecoder().read_whole(said)
        except PoeError:
            continue
