"""Answers of Poe's ``POST /v1/chat/completions``, streamed and whole, as deltas. Pure.

Behind it stand models of many vendors, each with its own way to write OpenAI's chunks (``poe/chunk.py``): thoughts in
one of two fields or in both, calls without index or id, ends without a reason. Several choices are never asked for.
"""

from collections.abc import Mapping
from typing import Any, Final

from proxy.core.deltas import ContentDelta, Delta, FinishReason, ReasoningDelta, RefusalDelta, ToolCallDelta
from proxy.core.failures import PoeFailed, StreamCut
from proxy.core.usage import Usage
from proxy.upstreams.poe.chunk import lone_call, read_chunk
from proxy.upstreams.poe.sse import Event
from proxy.upstreams.poe.tool_calls import ToolCallReader
from proxy.upstreams.poe_rest.chat_pictures import Pictures
from proxy.upstreams.poe_rest.chat_usage import usage_of
from proxy.upstreams.poe_rest.decoder import payload_of
from proxy.upstreams.poe_rest.faults import fault_of_error_event

_DONE: Final = b"[DONE]"


class ChatDecoder:
    """Reads one answer (``decoder.Decoder``).

    Calls get ids of ours where those of the model may come again in the next turn.

    Args:
        key: the key that was used, to be kept out of errors.
        names: by which the model knows tools → those of the caller.
    """

    __slots__ = (
        "_calls",
        "_has_text",
        "_names",
        "_pictures",
        "ended",
        "finish_reason",
        "key",
        "stop_sequence",
        "usage",
    )

    def __init__(self, *, key: str = "", names: Mapping[str, str] | None = None) -> None:
        self.key = key
        self._names = names or {}
        self._calls = ToolCallReader(keep_all=False)
        self._pictures = Pictures()
        self._has_text = False
        self.ended = False
        self.finish_reason: FinishReason | None = None
        #: Chat does not say which one it was.
        self.stop_sequence = ""
        self.usage: Usage | None = None

    def read_event(self, event: Event) -> list[Delta]:
        """What one event adds. Raises PoeError: it says that the answer failed, or makes no sense."""
        if self.ended:
            return []
        if event.data.strip() == _DONE:
            return self._end()
        chunk = payload_of(event)
        if chunk.get("usage") is None and chunk.get("error") is None:  # as in nearly every chunk
            if (text := _only_text(chunk)) is not None:
                self._has_text = True
                return [ContentDelta(text)]
            if (said := lone_call(chunk)) is not None:
                call = self._calls.feed_one(said)
                return [] if call is None else [self._restored(call)]
        if event.name == "error":
            raise fault_of_error_event(chunk, key=self.key)
        return self._read(chunk)

    def read_whole(self, body: dict[str, Any]) -> list[Delta]:
        """What a whole answer comes to. Raises PoeError: it failed, or makes no sense."""
        deltas = self._read(body)
        if not body.get("choices"):
            raise PoeFailed(said="a chat completion without choices")
        return deltas + self._end()

    def end_of_body(self) -> list[Delta]:
        """What was held back, when the body ends without ``[DONE]``.

        Gemini's streams of calls may have no finish reason: with whole calls they are whole.

        Raises:
            StreamCut: neither a finish reason was given nor a whole call.
        """
        if self.ended:
            return []
        if self.finish_reason is None and not (self._calls and self._calls.are_whole):
            raise StreamCut(said="a chat completion without an end")
        return self._end()

    def _read(self, chunk: dict[str, Any]) -> list[Delta]:
        if chunk.get("error") or chunk.get("type") == "error":
            raise fault_of_error_event(chunk, key=self.key)
        if isinstance(counts := chunk.get("usage"), dict):
            self.usage = usage_of(counts) or self.usage
        said = read_chunk(chunk)
        self.finish_reason = said.finish_reason or self.finish_reason
        deltas: list[Delta] = [ReasoningDelta(said.reasoning)] if said.reasoning else []
        if text := said.content + self._paragraphs(self._pictures.links_in(chunk, said.content), said.content):
            self._has_text = True
            deltas.append(ContentDelta(text))
        if said.refusal:
            deltas.append(RefusalDelta(said.refusal))
        return [*deltas, *map(self._restored, self._calls.feed(said.tool_calls))]

    def _paragraphs(self, links: list[str], before: str) -> str:
        return "".join([("\n\n" if self._has_text or before or at else "") + link for at, link in enumerate(links)])

    def _restored(self, call: ToolCallDelta) -> ToolCallDelta:
        return call._replace(name=self._names.get(call.name, call.name)) if call.name else call

    def _end(self) -> list[Delta]:
        """A call is an end by itself, and an end for calls needs one."""
        self.ended = True
        if self.finish_reason in (None, "stop", "tool_calls"):
            self.finish_reason = "tool_calls" if self._calls else "stop"
        return [*self._calls.finish()]


def _only_text(chunk: Mapping[str, Any]) -> str | None:
    """The text of a chunk whose choice says nothing else. Quick: an answer has thousands of them."""
    try:
        (choice,) = chunk["choices"]
        delta = choice["delta"]
        text = delta["content"]
    except (KeyError, TypeError, ValueError):
        return None
    if type(text) is not str or not text or choice.get("finish_reason") is not None:
        return None
    return text if len(delta) == 1 or (len(delta) == 2 and "role" in delta) else None
