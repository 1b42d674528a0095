"""Answers of chat in strict form, whole and streamed; each vendor's has fields of its own."""

import secrets
import time
import uuid
from collections.abc import Iterator
from typing import Final

from proxy.demo.rest.answering import Answer, Call, halves, pieces
from proxy.demo.rest.asked import Asked, Json
from proxy.demo.rest.chat_request import prompt_text
from proxy.demo.rest.gemini_calls import call_id, signature_of
from proxy.demo.rest.prompt_cache import PromptCache
from proxy.demo.rest.signing import sign
from proxy.demo.rest.tokens import count

_REASONS: Final = {"stop": "stop", "length": "length", "calls": "tool_calls", "stop_sequence": "stop"}
_VERTEX_LISTS: Final = (
    "vertex_ai_grounding_metadata",
    "vertex_ai_url_context_metadata",
    "vertex_ai_safety_results",
    "vertex_ai_citation_metadata",
)


class ChatAnswer:
    """One answer, which has an id and counts of its own."""

    def __init__(self, asked: Asked, said: Answer, cache: PromptCache) -> None:
        self._model = asked.model
        self._said = said
        self._id = secrets.token_urlsafe(16) if asked.model.is_gemini else f"chatcmpl-{uuid.uuid4()}"
        self._created = int(time.time())
        self._with_usage = bool((asked.body.get("stream_options") or {}).get("include_usage"))
        prompt = prompt_text(asked.body)
        self._prompt_tokens = count(prompt)
        self._cached_tokens = cache.use_as_openai(asked.owner, prompt) if asked.model.is_gpt else 0

    def whole(self) -> Json:
        """The body of an answer that is not streamed."""
        said, model = self._said, self._model
        calls = [self._call(call, at) for at, call in enumerate(said.calls)]
        message: Json = {
            "content": said.text or None if calls else said.text,
            "role": "assistant",
            "tool_calls": calls or None,
            "function_call": None,
        }
        if said.thoughts and not model.is_gpt:
            message["reasoning_content"] = said.thoughts
        if model.is_claude:
            message["provider_specific_fields"] = {"citations": None, "thinking_blocks": self._thoughts() or None}
        if model.is_gemini:
            message |= {"images": [], "thinking_blocks": []}
        choice = {"finish_reason": _REASONS[said.reason], "index": 0, "message": message}
        lists: Json = {name: [] for name in _VERTEX_LISTS} if model.is_gemini else {}
        return {**self._head("chat.completion"), "choices": [choice], "usage": self._usage(), **lists}

    def chunks(self) -> Iterator[Json]:
        """The chunks of a stream. Gemini gives no finish reason behind calls."""
        said = self._said
        yield self._chunk({"role": "assistant", "content": ""})
        if not self._model.is_gpt:
            for piece in pieces(said.thoughts):
                yield self._chunk({"reasoning_content": piece})
        for piece in pieces(said.text):
            yield self._chunk({"content": piece})
        for at, call in enumerate(said.calls):
            yield from self._call_chunks(call, at)
        if not (self._model.is_gemini and said.calls):
            yield self._chunk({}, _REASONS[said.reason])
        if self._with_usage:
            yield {**self._head("chat.completion.chunk"), "choices": [], "usage": self._usage()}

    def _call_chunks(self, call: Call, at: int) -> Iterator[Json]:
        """Gemini's calls come whole."""
        whole = self._call(call, at)
        if self._model.is_gemini:
            yield self._chunk({"tool_calls": [whole]})
            return
        yield self._chunk({"tool_calls": [whole | {"function": {"name": call.name, "arguments": ""}}]})
        for half in halves(call.arguments_json):
            yield self._chunk({"tool_calls": [{"index": at, "function": {"arguments": half}}]})

    def _call(self, call: Call, at: int) -> Json:
        function = {"arguments": call.arguments_json, "name": call.name}
        if self._model.is_gemini:
            identity = call_id(call, f"{self._id}{at}")
            return {"index": at, "function": function, "id": identity, "type": "function", **signature_of(call, at)}
        prefix = "toolu_vrtx_" if self._model.is_claude else "call_"
        return {"index": at, "function": function, "id": f"{prefix}{secrets.token_hex(12)}", "type": "function"}

    def _thoughts(self) -> list[Json]:
        text = self._said.thoughts
        return [{"type": "thinking", "thinking": text, "signature": sign("claude", text)}] if text else []

    def _chunk(self, delta: Json, reason: str | None = None) -> Json:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _head(self, kind: str) -> Json:
        model = self._model.backend
        return {
            "id": self._id,
            "created": self._created,
            "model": f"{model[:-9]}@{model[-8:]}" if self._model.is_claude else model,
            "object": kind,
            "system_fingerprint": None,
        }

    def _usage(self) -> Json:
        said, thoughts = self._said, self._said.thought_tokens
        details: Json = {"reasoning_tokens": thoughts, "text_tokens": said.tokens - thoughts}
        of_prompt: Json = {"audio_tokens": None, "cached_tokens": self._cached_tokens, "text_tokens": None}
        of_prompt |= {"image_tokens": None, "video_tokens": None}
        counts: Json = {
            "completion_tokens": said.tokens,
            "prompt_tokens": self._prompt_tokens,
            "total_tokens": self._prompt_tokens + said.tokens,
            "completion_tokens_details": details,
            "prompt_tokens_details": of_prompt,
        }
        if self._model.is_gpt:
            details |= {"text_tokens": None, "image_tokens": None}
        elif self._model.is_gemini:
            of_prompt |= {"cached_tokens": None, "text_tokens": self._prompt_tokens}
            counts["cache_read_input_tokens"] = None
        else:
            of_prompt["cache_creation_tokens"] = 0
            counts |= {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
            counts |= {"inference_geo": None, "speed": None}
        return counts
