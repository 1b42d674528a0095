"""The routes of the REST API: who asks, for which model, and how answers and errors go over HTTP."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from datetime import UTC, datetime
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

from proxy.demo.rest.answering import answer
from proxy.demo.rest.asked import Asked, Json
from proxy.demo.rest.chat_answer import ChatAnswer
from proxy.demo.rest.chat_request import read_chat
from proxy.demo.rest.errors import (
    RestError,
    missing,
    new_request_id,
    not_of_anthropic,
    unknown_model_of_anthropic,
    unknown_model_of_openai,
)
from proxy.demo.rest.messages_answer import MessagesAnswer
from proxy.demo.rest.messages_prompt import prompt_blocks
from proxy.demo.rest.messages_request import read_messages
from proxy.demo.rest.models import CHAT, MESSAGES, RESPONSES, model_named
from proxy.demo.rest.prompt_cache import PromptCache
from proxy.demo.rest.responses_answer import ResponsesAnswer
from proxy.demo.rest.responses_request import read_responses

_REQUESTS_A_SECOND: Final = 500
_DONE: Final = "[DONE]"

#: A Poe key → its account.
AccountOf = Callable[[str], str]


class RestApi:
    """The three endpoints, with one cache of prompts."""

    def __init__(self, account_of: AccountOf, least_cached_tokens: int) -> None:
        self._account_of = account_of
        self._cache = PromptCache(least_cached_tokens)
        self._limits = _Limits()

    async def chat(self, request: Request) -> Response:
        """``POST /v1/chat/completions``."""
        return await self._serve(request, self._chat)

    async def responses(self, request: Request) -> Response:
        """``POST /v1/responses``."""
        return await self._serve(request, self._responses)

    async def messages(self, request: Request) -> Response:
        """``POST /v1/messages``."""
        return await self._serve(request, self._messages)

    async def _serve(self, request: Request, endpoint: Callable[[Request, Json, str], Response]) -> Response:
        request_id, began = new_request_id(), time.monotonic()
        is_anthropic = request.url.path == MESSAGES
        try:
            response = endpoint(request, _body_of(await request.body()), request_id)
        except RestError as error:
            body = error.as_anthropic(request_id) if is_anthropic else error.as_openai(request_id)
            response = JSONResponse(body, status_code=error.status)
            if error.kind == "api_error":  # it comes without limits
                return response
        account = self._account_of(key_of(request))
        response.headers.update({"x-request-id": request_id})
        if is_anthropic:
            response.headers.update(self._limits.of_anthropic(account))
            return response
        took_ms = int(1000 * (time.monotonic() - began))
        response.headers.update({"openai-processing-ms": str(took_ms), "openai-version": "2020-10-01"})
        response.headers.update(self._limits.of_openai(account))
        if request.url.path == CHAT:
            response.headers["x-poe-feature-active"] = "chat-completions-strict"
        return response

    def _chat(self, request: Request, body: Json, request_id: str) -> Response:
        asked = self._asked(request, body, request_id)
        said = ChatAnswer(asked, answer(read_chat(asked)), self._cache)
        return _streamed(said.chunks(), done=True) if asked.streams else JSONResponse(said.whole())

    def _responses(self, request: Request, body: Json, request_id: str) -> Response:
        asked = self._asked(request, body, request_id)
        if RESPONSES not in asked.model.endpoints:
            raise RestError("Model does not support responses method.")
        said = ResponsesAnswer(asked, answer(read_responses(asked)), self._cache)
        return _streamed(said.events(), named=True, done=True) if asked.streams else JSONResponse(said.whole())

    def _messages(self, request: Request, body: Json, request_id: str) -> Response:
        if "anthropic-version" not in request.headers:
            raise RestError("anthropic-version: header is required")
        model = model_named(body.get("model"))
        if model is None:
            raise unknown_model_of_anthropic(body.get("model"))
        if not model.is_claude:
            raise not_of_anthropic()
        asked = Asked(model, body, self._account_of(key_of(request)), request_id)
        prompt = read_messages(asked)
        counts = self._cache.use_as_anthropic(asked.owner, prompt_blocks(body))
        said = MessagesAnswer(asked, answer(prompt), counts)
        return _streamed(said.events(), named=True) if asked.streams else JSONResponse(said.whole())

    def _asked(self, request: Request, body: Json, request_id: str) -> Asked:
        if body.get("model") is None:
            raise missing("model")
        model = model_named(body["model"])
        if model is None:
            raise unknown_model_of_openai(body["model"])
        return Asked(model, body, self._account_of(key_of(request)), request_id)


def add_rest_routes(app: FastAPI, account_of: AccountOf, least_cached_tokens: int) -> None:
    """Adds the three endpoints; whether the key is right is looked at before."""
    api = RestApi(account_of, least_cached_tokens)
    for path, endpoint in ((CHAT, api.chat), (RESPONSES, api.responses), (MESSAGES, api.messages)):
        app.add_api_route(path, endpoint, methods=["POST"], response_model=None)


def key_of(request: Request) -> str:
    """The Poe key of a request: a bearer, or as Anthropic's clients send it."""
    return request.headers.get("authorization", "").removeprefix("Bearer ") or request.headers.get("x-api-key", "")


class _Limits:
    """How many requests an account has left in this second."""

    def __init__(self) -> None:
        self._second = 0
        self._requests: dict[str, int] = {}

    def of_openai(self, account: str) -> dict[str, str]:
        return {
            "x-ratelimit-limit-requests": str(_REQUESTS_A_SECOND),
            "x-ratelimit-remaining-requests": str(self._remaining(account)),
            "x-ratelimit-reset-requests": "1",
        }

    def of_anthropic(self, account: str) -> dict[str, str]:
        return {
            "anthropic-ratelimit-requests-limit": str(_REQUESTS_A_SECOND),
            "anthropic-ratelimit-requests-remaining": str(self._remaining(account)),
            "anthropic-ratelimit-requests-reset": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }

    def _remaining(self, account: str) -> int:
        """Nobody is refused, so that it stays at 1."""
        if (second := int(time.monotonic())) != self._second:
            self._second, self._requests = second, {}
        self._requests[account] = self._requests.get(account, 0) + 1
        return max(1, _REQUESTS_A_SECOND - self._requests[account])


def _body_of(content: bytes) -> Json:
    try:
        body: Any = json.loads(content)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise RestError("We could not parse the JSON body of your request.")
    return body


def _streamed(events: Iterable[Json], *, named: bool = False, done: bool = False) -> Response:
    """Events as SSE; with ``named``, each has its type as its name."""

    async def lines() -> AsyncIterator[str]:
        for event in events:
            name = f"event: {event['type']}\n" if named else ""
            yield f"{name}data: {json.dumps(event, ensure_ascii=False)}\n\n"
            await asyncio.sleep(0)
        if done:
            yield f"data: {_DONE}\n\n"

    return StreamingResponse(lines(), media_type="text/event-stream; charset=utf-8")
