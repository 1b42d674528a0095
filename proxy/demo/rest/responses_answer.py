"""Answers of responses: OpenAI's objects, with what Poe's have beside and instead."""

import base64
import secrets
import time
import uuid
from collections.abc import Iterator
from typing import Any

from proxy.demo.rest.answering import Answer
from proxy.demo.rest.asked import Asked, Json
from proxy.demo.rest.prompt_cache import PromptCache
from proxy.demo.rest.responses_events import events_of_item
from proxy.demo.rest.responses_request import prompt_text, thinks
from proxy.demo.rest.signing import seal
from proxy.demo.rest.tokens import count

_SEALED = "reasoning.encrypted_content"


class ResponsesAnswer:
    """One answer, which has ids and counts of its own."""

    def __init__(self, asked: Asked, said: Answer, cache: PromptCache) -> None:
        self._model, self._body, self._said = asked.model, asked.body, said
        self._created = int(time.time())
        provider = "openai" if asked.model.is_gpt else "vertex_ai"
        inner = f"resp_{secrets.token_hex(25)}" if asked.model.is_gpt else f"chatcmpl-{uuid.uuid4()}"
        wrapped = f"litellm:custom_llm_provider:{provider};model_id:None;response_id:{inner}"
        self._id = f"resp_{base64.b64encode(wrapped.encode()).decode()}"
        prompt = prompt_text(asked.body)
        self._prompt_tokens = count(prompt)
        self._cached_tokens = cache.use_as_openai(asked.owner, prompt) if asked.model.is_gpt else 0
        self._items = [*self._reasoning(), *self._message(inner), *self._calls()]

    def whole(self) -> Json:
        """The response, when it is over."""
        is_cut = self._said.reason == "length"
        return self._response(
            status="incomplete" if is_cut else "completed",
            incomplete_details={"reason": "max_output_tokens"} if is_cut else None,
            completed_at=None if is_cut else int(time.time()),
            output=self._items,
            usage=self._usage(),
        )

    def events(self) -> Iterator[Json]:
        """The events of a stream, numbered."""
        for number, event in enumerate(self._events()):
            yield event | {"sequence_number": number}

    def _events(self) -> Iterator[Json]:
        begun = self._response(status="in_progress", output=[], usage=None)
        yield {"type": "response.created", "response": begun}
        yield {"type": "response.in_progress", "response": begun}
        for index, item in enumerate(self._items):
            yield from events_of_item(item, index)
        whole = self.whole()
        yield {"type": f"response.{whole['status']}", "response": whole}

    def _reasoning(self) -> Iterator[Json]:
        """Thoughts: as a summary if one is asked for, and sealed if that is. Those of Claude are not shown."""
        if not self._model.is_gpt or not thinks(self._body):
            return
        text = self._said.thoughts
        wants_summary = self._body["reasoning"].get("summary") is not None
        summary = [{"text": text, "type": "summary_text"}] if wants_summary else []
        item: Json = {"id": f"rs_{secrets.token_hex(25)}", "summary": summary, "type": "reasoning"}
        if _SEALED in (self._body.get("include") or ()):
            item["encrypted_content"] = seal(text)
        yield item

    def _message(self, inner: str) -> Iterator[Json]:
        if not self._said.text:
            return
        part: Json = {"annotations": [], "text": self._said.text, "type": "output_text", "logprobs": []}
        message: Json = {
            "id": f"msg_{secrets.token_hex(25)}" if self._model.is_gpt else inner,
            "content": [part],
            "role": "assistant",
            "status": "incomplete" if self._said.reason == "length" else "completed",
            "type": "message",
        }
        yield message | ({"phase": "final_answer"} if self._model.is_gpt else {})

    def _calls(self) -> Iterator[Json]:
        for call in self._said.calls:
            yield {
                "arguments": call.arguments_json,
                "call_id": f"call_{secrets.token_hex(12)}",
                "name": call.name,
                "type": "function_call",
                "id": f"fc_{secrets.token_hex(25)}",
                "status": "completed",
            }

    def _response(self, **now: Any) -> Json:
        body, is_gpt = self._body, self._model.is_gpt
        fixed = {
            "id": self._id,
            "created_at": self._created,
            "metadata": body.get("metadata") or {},
            "model": self._model.backend,
            "object": "response",
            "parallel_tool_calls": body.get("parallel_tool_calls", True) if is_gpt else False,
            "temperature": body.get("temperature", 1.0 if is_gpt else 0),
            "tool_choice": body.get("tool_choice", "auto") if is_gpt else "auto",
            "tools": [_echoed(tool) for tool in body.get("tools") or []] if is_gpt else [],
            "top_p": body.get("top_p", 1.0),
            "max_output_tokens": body.get("max_output_tokens"),
            "reasoning": self._echoed_reasoning() if is_gpt else None,
            "text": {"format": {"type": "text"}, "verbosity": "medium"} | (body.get("text") or {}),
            "truncation": "disabled",
            "store": not is_gpt,
            "background": False,
            "frequency_penalty": 0.0,
            "presence_penalty": 0.0,
            "service_tier": "default",
            "top_logprobs": 0,
        }
        nulls = "completed_at error incomplete_details instructions max_tool_calls previous_response_id"
        absent = dict.fromkeys(f"{nulls} safety_identifier prompt_cache_key".split())
        return fixed | absent | ({"billing": {"payer": "developer"}} if is_gpt else {}) | now

    def _echoed_reasoning(self) -> Json:
        """A summary that was ``auto`` is said to have been detailed."""
        asked = self._body.get("reasoning") or {}
        summary = asked.get("summary")
        return {"effort": asked.get("effort") or "none", "summary": "detailed" if summary == "auto" else summary}

    def _usage(self) -> Json:
        said = self._said
        return {
            "input_tokens": self._prompt_tokens,
            "input_tokens_details": {"cached_tokens": self._cached_tokens},
            "output_tokens": said.tokens,
            "output_tokens_details": {"reasoning_tokens": said.thought_tokens},
            "total_tokens": self._prompt_tokens + said.tokens,
        }


def _echoed(tool: Json) -> Json:
    """Functions are strict unless the request says that they are not, and lose their ``$schema``."""
    if tool.get("type") != "function":
        return tool
    parameters = {name: value for name, value in (tool.get("parameters") or {}).items() if name != "$schema"}
    strict = tool.get("strict")
    return tool | {"parameters": parameters, "strict": True if strict is None else strict}
