"""Answers of messages, whole and streamed."""

import secrets
from collections.abc import Iterator
from typing import Final

from proxy.demo.rest.answering import Answer, halves, pieces
from proxy.demo.rest.asked import Asked, Json
from proxy.demo.rest.prompt_cache import Counts
from proxy.demo.rest.signing import sign
from proxy.demo.rest.tokens import written

_REASONS: Final = {
    "stop": "end_turn",
    "length": "max_tokens",
    "calls": "tool_use",
    "stop_sequence": "stop_sequence",
}


class MessagesAnswer:
    """One answer; ``counts`` are the prompt's tokens."""

    def __init__(self, asked: Asked, said: Answer, counts: Counts) -> None:
        self._asked, self._said, self._counts = asked, said, counts
        self._content = list(self._blocks())

    def whole(self) -> Json:
        """The body of an answer that is not streamed."""
        return self._head() | {
            "content": self._content,
            "stop_reason": _REASONS[self._said.reason],
            "stop_sequence": self._said.stop,
            "usage": self._usage(self._said.tokens),
        }

    def events(self) -> Iterator[Json]:
        """The events of a stream."""
        begun: Json = {"content": [], "stop_reason": None, "stop_sequence": None, "usage": self._usage(1)}
        yield {"type": "message_start", "message": self._head() | begun}
        yield {"type": "ping"}
        for index, block in enumerate(self._content):
            yield from _block_events(block, index)
        yield {
            "type": "message_delta",
            "delta": {"stop_reason": _REASONS[self._said.reason], "stop_sequence": self._said.stop},
            "usage": self._usage(self._said.tokens),
        }
        yield {"type": "message_stop"}

    def _head(self) -> Json:
        return {
            "model": self._asked.model.backend,
            "id": self._asked.request_id,
            "type": "message",
            "role": "assistant",
        }

    def _blocks(self) -> Iterator[Json]:
        said = self._said
        if said.thoughts:
            yield {"type": "thinking", "thinking": said.thoughts, "signature": sign("claude", said.thoughts)}
        if said.text:
            yield {"type": "text", "text": said.text}
        for call in said.calls:
            identity = f"toolu_vrtx_{secrets.token_hex(12)}"
            yield {"type": "tool_use", "id": identity, "name": call.name, "input": call.arguments}

    def _usage(self, output_tokens: int) -> Json:
        """The input's tokens do not count those of the cache, and neither does the total."""
        counts = self._counts
        return {
            "input_tokens": counts.others,
            "cache_creation_input_tokens": sum(counts.written.values()),
            "cache_read_input_tokens": counts.read,
            "cache_creation": {f"ephemeral_{ttl}_input_tokens": tokens for ttl, tokens in counts.written.items()},
            "output_tokens": output_tokens,
            "total_tokens": counts.others + output_tokens,
        }


def _block_events(block: Json, index: int) -> Iterator[Json]:
    begun = block | _EMPTY[block["type"]]
    yield {"type": "content_block_start", "index": index, "content_block": begun}
    for delta in _deltas(block):
        yield {"type": "content_block_delta", "index": index, "delta": delta}
    yield {"type": "content_block_stop", "index": index}


_EMPTY: Final[dict[str, Json]] = {
    "thinking": {"thinking": "", "signature": ""},
    "text": {"text": ""},
    "tool_use": {"input": {}},
}


def _deltas(block: Json) -> Iterator[Json]:
    match block["type"]:
        case "thinking":
            yield from ({"type": "thinking_delta", "thinking": piece} for piece in pieces(block["thinking"]))
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "text":
            yield from ({"type": "text_delta", "text": piece} for piece in pieces(block["text"]))
        case "tool_use":
            for part in ("", *halves(written(block["input"]))):
                yield {"type": "input_json_delta", "partial_json": part}
