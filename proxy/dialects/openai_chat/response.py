"""Chat completions, streamed or whole, as bytes. Pure.

Shapes: https://platform.openai.com/docs/api-reference/chat/object and …/chat/streaming; thinking goes into
``reasoning_content``, the field that DeepSeek's API made common, and once more into ``reasoning_details`` where it is
signed. A stream's chunks differ only in a few bytes, so
everything around those is built once a stream.
"""

from functools import partial
from typing import Any, ClassVar, Final

import orjson

from proxy.core.deltas import (
    Batch,
    ContentDelta,
    ContentDeltas,
    Delta,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    ThinkingSignature,
    ToolCallDelta,
)
from proxy.core.failures import ProxyError
from proxy.core.gathered import Choice, Gathered
from proxy.core.usage import Usage
from proxy.dialects.openai.stream_end import DONE, error_event
from proxy.dialects.openai.usage import usage_json
from proxy.dialects.openai_chat.call_signatures import signed
from proxy.dialects.openai_chat.reasoning_details import streamed_details, whole_details
from proxy.dialects.streams.lines import short, with_whole_lines
from proxy.dialects.streams.texts import text_events

#: Of which an answer may have as many as of texts. Not as ``A | B``, which is built anew each time.
_MANY_BESIDES_TEXT: Final = (ToolCallDelta, ReasoningDelta)


#: Of thoughts that may be signed in the end so many characters are kept, beyond which they are not given once more.
_KEPT_CHARACTERS: Final = 500_000


class ChunkWriter:
    """The server-sent events of one streamed completion.

    The first chunk of each choice carries the role; all chunks share one id and one ``created``.

    Attributes:
        write_texts: the chunks for more text of the first choice, which is open already. What nearly every chunk is, so
            it takes no step of its own.
    """

    fails_cleanly: ClassVar[bool] = False
    __slots__ = (
        "_details_sent",
        "_head",
        "_include_usage",
        "_opened",
        "_room",
        "_thoughts",
        "_usage_null",
        "write_texts",
    )

    def __init__(self, *, completion_id: str, created: int, model: str, include_usage: bool) -> None:
        self._include_usage = include_usage
        self._usage_null = b',"usage":null' if include_usage else b""
        self._head = b'data: {"id":%b,"object":"chat.completion.chunk","created":%d,"model":%b,"choices":[' % (
            orjson.dumps(completion_id),
            created,
            with_whole_lines(orjson.dumps(model)),
        )
        self.write_texts = partial(
            text_events,
            before=self._head + b'{"index":0,"delta":{"content":',
            after=b'},"logprobs":null,"finish_reason":null}]' + self._usage_null + b"}\n\n",
        )
        self._opened: set[int] = set()
        #: The thoughts that no signature has ended yet, as far as there was room for them.
        self._thoughts: list[str] = []
        self._room = _KEPT_CHARACTERS
        self._details_sent = 0

    def opening(self) -> bytes:
        """The first chunk of the first choice, when it must go out before anything else is known."""
        return self._open(0, b"null")

    def write(self, batch: Batch) -> bytes:
        """The chunks for these deltas, and an opening before the first ones; Usage brings the end.

        Each delta gets a chunk; ``parts_of`` makes long ones short.
        """
        choice, deltas = batch
        chunks = [] if choice in self._opened else [self._open_up_to(choice, deltas[0])]
        chunks += [self._chunks(choice, delta) for delta in deltas]
        return b"".join(chunks)

    def error(self, error: ProxyError) -> bytes:
        """The event that ends a failed stream."""
        return error_event(error)

    def _open_up_to(self, choice: int, first: Delta) -> bytes:
        """The openings of a choice and of those before it: OpenAI's own client takes them in order only."""
        if not choice:
            return self._open(0, _first_content(first))
        before = [self._open(lower, b"null") for lower in range(choice) if lower not in self._opened]
        return b"".join([*before, self._open(choice, _first_content(first))])

    def _open(self, choice: int, content: bytes) -> bytes:
        self._opened.add(choice)
        return self._chunk(choice, b'{"role":"assistant","content":%b,"refusal":null}' % content)

    def _chunks(self, choice: int, delta: Delta) -> bytes:  # noqa: PLR0911 - one for each kind
        if isinstance(delta, ContentDelta):
            return self._texts(choice, [delta.text])
        if isinstance(delta, ContentDeltas):
            return self._texts(choice, delta.texts)
        if isinstance(delta, _MANY_BESIDES_TEXT):
            if isinstance(delta, ReasoningDelta) and not choice and self._room > 0:
                self._thoughts.append(delta.text)
                self._room -= len(delta.text)
            return self._chunk(choice, with_whole_lines(_besides_text(delta)))
        if isinstance(delta, Finish):
            return self._chunk(choice, b"{}", b'"%b"' % delta.reason.encode())
        if isinstance(delta, Usage):
            return self._end(delta)
        if isinstance(delta, ThinkingSignature):
            return self._details(choice, delta)
        return self._chunk(choice, with_whole_lines(_besides_text(delta)))

    def _details(self, choice: int, end: ThinkingSignature) -> bytes:
        """The thoughts so far once more, signed, for clients that give them back. Those of several choices are not."""
        if choice:
            return b""
        text, is_whole = "".join(self._thoughts), self._room > 0
        self._thoughts, self._room, index = [], _KEPT_CHARACTERS, self._details_sent
        if not is_whole:
            return b""
        self._details_sent += 1
        entries = streamed_details(text, end.signature, index, redacted=end.redacted)
        chunks = (b'{"reasoning_details":%b}' % with_whole_lines(orjson.dumps([entry])) for entry in entries)
        return b"".join([self._chunk(choice, chunk) for chunk in chunks])

    def _texts(self, choice: int, texts: list[str]) -> bytes:
        if not choice:
            return self.write_texts(texts)
        return b"".join(
            [self._chunk(choice, b'{"content":%b}' % with_whole_lines(orjson.dumps(text))) for text in short(texts)]
        )

    def _chunk(self, choice: int, delta: bytes, finish_reason: bytes = b"null") -> bytes:
        return b'%b{"index":%d,"delta":%b,"logprobs":null,"finish_reason":%b}]%b}\n\n' % (
            self._head,
            choice,
            delta,
            finish_reason,
            self._usage_null,
        )

    def _end(self, usage: Usage) -> bytes:
        if not self._include_usage:
            return DONE
        return self._head + b'],"usage":%b}\n\n' % orjson.dumps(usage_json(usage)) + DONE


def _besides_text(delta: ReasoningDelta | RefusalDelta | ToolCallDelta) -> bytes:
    """The ``delta`` of a chunk."""
    if isinstance(delta, ReasoningDelta):
        return b'{"reasoning_content":%b}' % orjson.dumps(delta.text)
    if isinstance(delta, RefusalDelta):
        return b'{"refusal":%b}' % orjson.dumps(delta.text)
    if not delta.id and not delta.signature:  # nearly all of them
        return b'{"tool_calls":[{"index":%d,"function":{"arguments":%b}}]}' % (
            delta.position,
            orjson.dumps(delta.arguments),
        )
    return b'{"tool_calls":[%b]}' % orjson.dumps(_call_json(delta))


def _first_content(delta: Delta) -> bytes:
    """Null where thoughts or calls come first: there may be no text at all, and then the content is null."""
    beside = ReasoningDelta | ThinkingSignature | RefusalDelta | ToolCallDelta
    return b"null" if isinstance(delta, beside) else b'""'


def completion_body(*, completion_id: str, created: int, model: str, answer: Gathered) -> bytes:
    """A whole completion."""
    return orjson.dumps(
        {
            "id": completion_id,
            "object": "chat.completion",
            "created": created,
            "model": model,
            "choices": [_choice(index, choice) for index, choice in answer.in_order()],
            "usage": usage_json(answer.usage),
        }
    )


def _choice(index: int, choice: Choice) -> dict[str, Any]:
    """OpenAI's ``choice`` object."""
    if choice.reason is None:
        raise ValueError("a choice without a Finish is not whole")
    return {"index": index, "message": _message(choice), "logprobs": None, "finish_reason": choice.reason}


def _message(choice: Choice) -> dict[str, Any]:
    """OpenAI's ``message`` object. Content is null where there is none beside thoughts, calls or a refusal."""
    text = "".join(choice.text)
    beside = bool(choice.calls or choice.reasoning or choice.refusal)
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if beside and not text else text,
        "refusal": "".join(choice.refusal) or None,
    }
    if choice.reasoning:
        message["reasoning_content"] = choice.reasoning
    if details := whole_details(choice.thoughts):
        message["reasoning_details"] = details
    if choice.calls:
        message["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
                **signed(call.signature),
            }
            for _, call in sorted(choice.calls.items())
        ]
    return message


def _call_json(call: ToolCallDelta) -> dict[str, Any]:
    """An entry of a chunk's ``tool_calls``."""
    if not call.id:
        return {"index": call.position, "function": {"arguments": call.arguments}, **signed(call.signature)}
    function = {"name": call.name, "arguments": call.arguments}
    return {"index": call.position, "id": call.id, "type": "function", "function": function, **signed(call.signature)}
