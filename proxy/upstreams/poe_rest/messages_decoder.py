"""Answers of Poe's ``/v1/messages``, which is Anthropic's Messages API, as deltas. Pure.

Events: https://docs.anthropic.com/en/docs/build-with-claude/streaming. An answer is made of content blocks, each with
an index. Most say nothing to a client but their text: what Anthropic's own tools were asked, and what they found, is
left out. Kinds of events, blocks and deltas that are not known are left out, as Anthropic asks of its clients.
"""

from collections.abc import Mapping
from typing import Any, Final

from proxy.core.deltas import ContentDelta, Delta, FinishReason, ReasoningDelta, ThinkingSignature, ToolCallDelta
from proxy.core.failures import PoeError, PoeFailed, StreamCut
from proxy.core.usage import Usage
from proxy.upstreams.poe.json_text import written_json
from proxy.upstreams.poe.sse import Event
from proxy.upstreams.poe_rest.decoder import payload_of
from proxy.upstreams.poe_rest.faults import fault_of_error_event
from proxy.upstreams.poe_rest.messages_usage import MessagesUsage

_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
#: Ends the streams of OpenAI's APIs, and of some servers that speak both.
_DONE: Final = b"[DONE]"


class _Call:
    """A call whose block is open: its place among the calls, its arguments as they began, and whether more came."""

    __slots__ = ("begun", "has_arguments", "position")

    def __init__(self, position: int, begun: str) -> None:
        self.position = position
        self.begun = begun
        self.has_arguments = False


class MessagesDecoder:
    """One answer. See ``Decoder``.

    Args:
        key: is kept out of what Poe said.
        names: the names of tools that the model got in place of longer ones → those.
    """

    __slots__ = (
        "_begun_last",
        "_calls",
        "_names",
        "_open",
        "_tokens",
        "ended",
        "finish_reason",
        "key",
        "stop_sequence",
        "usage",
    )

    def __init__(self, *, key: str = "", names: Mapping[str, str] | None = None) -> None:
        self.ended = False
        self.finish_reason: FinishReason | None = None
        self.stop_sequence = ""
        self.usage: Usage | None = None
        self.key = key
        self._names = names or {}
        self._tokens = MessagesUsage()
        #: How many calls have begun.
        self._calls = 0
        #: The blocks that have not ended, by index; None for those that are no calls.
        self._open: dict[int, _Call | None] = {}
        self._begun_last = 0

    def read_event(self, event: Event) -> list[Delta]:
        """What one event of a stream adds. Raises PoeError: it says that the answer failed, or makes no sense."""
        if self.ended:
            return []
        try:
            said = payload_of(event)
        except PoeFailed:
            if event.data.strip() == _DONE:
                return []
            raise
        delta = said.get("delta")
        if type(delta) is dict and delta.get("type") == "text_delta" and type(text := delta.get("text")) is str:
            return [ContentDelta(text)] if text else []  # as nearly all are
        return self._read(said)

    def read_whole(self, body: dict[str, Any]) -> list[Delta]:
        """What a whole answer comes to; it has ended then. Raises PoeError: it makes no sense."""
        content = body.get("content")
        if body.get("type") == "error" or not isinstance(content, list):
            raise self._fault(body)
        deltas: list[Delta] = []
        for index, block in enumerate(content):
            deltas += self._begin(index, block) + self._end(index)
        self._note(body)
        self.ended = True
        return deltas

    def end_of_body(self) -> list[Delta]:
        """What was held back when the body ends without ``message_stop``.

        Raises:
            StreamCut: nothing has said why the answer ended.
        """
        if self.ended:
            return []
        if self.finish_reason is None:
            raise StreamCut
        return self._end_all()

    def _read(self, said: dict[str, Any]) -> list[Delta]:
        """Any event but a text's."""
        match said.get("type"):
            case "content_block_delta":
                return self._more(said)
            case "content_block_start":
                return self._begin(_index(said, self._begun_last + 1), said.get("content_block"))
            case "content_block_stop":
                return self._end(_index(said, self._begun_last))
            case "message_start":
                self._note(_object(said, "message"))
            case "message_delta":
                self._note({**_object(said, "delta"), "usage": said.get("usage")})
            case "message_stop":
                self.ended = True
                return self._end_all()
            case "error":
                raise self._fault(said)
            case None if "error" in said:
                raise self._fault(said)
        return []

    def _begin(self, index: int, block: object) -> list[Delta]:
        """A block begins, with all that it has, or nothing yet."""
        if not isinstance(block, dict):
            raise PoeFailed(said="a block that is no object")
        deltas = self._end(index)  # an index that comes again is another block
        self._open[index] = None
        self._begun_last = index
        match block.get("type"):
            case "text":
                deltas += _text(block)
            case "thinking":
                deltas += _thoughts(block) + _signature(block)
            case "redacted_thinking":
                deltas.append(ThinkingSignature(_string(block, "data"), redacted=True))
            case "tool_use":
                deltas.append(self._call(index, block))
        return deltas

    def _call(self, index: int, block: dict[str, Any]) -> Delta:
        call_id, name = _string(block, "id"), _string(block, "name")
        if not call_id or not name:
            raise PoeFailed(said="a call without its id or name")
        call = self._open[index] = _Call(self._calls, _begun_input(block.get("input")))
        self._calls += 1
        return ToolCallDelta(call.position, call_id, self._names.get(name, name), "")

    def _more(self, said: dict[str, Any]) -> list[Delta]:
        """More of a block."""
        delta = _object(said, "delta")
        match delta.get("type"):
            case "text_delta":
                return _text(delta)
            case "thinking_delta":
                return _thoughts(delta)
            case "signature_delta":
                return _signature(delta)
            case "input_json_delta":
                return self._arguments(_index(said, self._begun_last), _string(delta, "partial_json"))
        return []

    def _arguments(self, index: int, arguments: str) -> list[Delta]:
        if index not in self._open:
            raise PoeFailed(said="arguments of a block that is not open")
        call = self._open[index]
        if call is None or not arguments:  # those of Anthropic's own tools say nothing to a client
            return []
        call.has_arguments = call.has_arguments or not arguments.isspace()
        return [ToolCallDelta(call.position, "", "", arguments)]

    def _end(self, index: int) -> list[Delta]:
        """A block ends: a call without arguments has those that it began with, or an empty object."""
        call = self._open.pop(index, None)
        if call is None or call.has_arguments:
            return []
        return [ToolCallDelta(call.position, "", "", call.begun or "{}")]

    def _end_all(self) -> list[Delta]:
        return [delta for index in list(self._open) for delta in self._end(index)]

    def _note(self, message: dict[str, Any]) -> None:
        """What is said of the whole message: how much it took, and why it ended."""
        self.usage = self._tokens.note(message.get("usage"))
        reason = message.get("stop_reason")
        if not isinstance(reason, str):
            return
        sequence = message.get("stop_sequence")
        self.finish_reason = _REASONS.get(reason, "stop")
        self.stop_sequence = sequence if reason == "stop_sequence" and isinstance(sequence, str) else ""
        if self.finish_reason == "tool_calls" and not self._calls:  # they were of Anthropic's own tools
            self.finish_reason = "stop"

    def _fault(self, said: dict[str, Any]) -> PoeError:
        if "error" not in said:
            return PoeFailed(said="a message without content")
        return fault_of_error_event(said, key=self.key)


def _index(said: dict[str, Any], otherwise: int) -> int:
    """The index of the block that an event is about."""
    index = said.get("index")
    return index if isinstance(index, int) else otherwise


def _object(said: dict[str, Any], name: str) -> dict[str, Any]:
    value = said.get(name)
    if not isinstance(value, dict):
        raise PoeFailed(said=f"an event whose {name} is no object")
    return value


def _string(said: dict[str, Any], name: str) -> str:
    """A text that may be left out. Raises PoeFailed: it is none."""
    value = said.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise PoeFailed(said=f"a {name} that is no text")
    return value


def _text(said: dict[str, Any]) -> list[Delta]:
    text = _string(said, "text")
    return [ContentDelta(text)] if text else []


def _thoughts(said: dict[str, Any]) -> list[Delta]:
    thoughts = _string(said, "thinking")
    return [ReasoningDelta(thoughts)] if thoughts else []


def _signature(said: dict[str, Any]) -> list[Delta]:
    signature = _string(said, "signature")
    return [ThinkingSignature(signature)] if signature else []


def _begun_input(value: object) -> str:
    """The arguments that a call begins with, as JSON; "" for none."""
    if not value:
        return ""
    if not isinstance(value, dict):
        raise PoeFailed(said="a call whose input is no object")
    try:
        return written_json(value).decode()
    except RecursionError:
        raise PoeFailed(said="a call whose input is nested too deeply") from None
