"""A call over one of Poe's REST endpoints."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from proxy.answer.json_format import JsonFormat, build_json_format
from proxy.answer.token_counts import TokenCounter
from proxy.core.chat_request import ChatRequest, Message, Part, Text, Thinking, ToolCall
from proxy.core.sink import Sink
from proxy.credentials import PoeKey
from proxy.gateway.off_loop import OffLoop
from proxy.gateway.way import Progress, Reading, Way
from proxy.upstreams.poe.asking import Asking
from proxy.upstreams.poe.functions import names_to_restore
from proxy.upstreams.poe.reply import Pipeline
from proxy.upstreams.poe.streams import PoeStreams
from proxy.upstreams.poe_account.models import Bot
from proxy.upstreams.poe_rest.endpoints import ENDPOINTS
from proxy.upstreams.poe_rest.pipeline import StreamPipeline, WholePipeline
from proxy.upstreams.poe_rest.reply import RestReply

#: What a token of a prompt is taken to have, in bytes of JSON, where it is only to be reserved.
_BYTES_A_TOKEN: Final = 4
_JSON: Final = "application/json"
_SYSTEM: Final = ("system", "developer")


class RestQuestion(NamedTuple):
    """What is asked, and what it takes to ask.

    Attributes:
        streams: the connections to Poe.
        upstream: the endpoint's name.
        cache: whether the prompt should be cached.
        is_large: whether work with the request is for another thread than the event loop's.
        with_bot: plans the same over the bot protocol.
    """

    streams: PoeStreams
    upstream: str
    bot: Bot
    request: ChatRequest
    cache: bool
    off_loop: OffLoop
    is_large: bool
    with_bot: Callable[[], Awaitable[Way]]


class RestWay:
    """One call over an endpoint; see ``Way``. What Poe counts is not counted here."""

    visible_tokens: int | None = None
    all_tokens: int | None = None
    caches = True
    passes = False

    def __init__(self, question: RestQuestion, body: bytes, json_format: JsonFormat | None) -> None:
        request = question.request
        self.upstream = question.upstream
        self.choices = request.options.choices
        self.json_format = json_format
        self.has_tools = bool(request.tools)
        self.demands_a_call = request.tool_choice not in ("auto", "none")
        self.body = body
        self._question = question
        self._endpoint = ENDPOINTS[question.upstream]
        self._names = names_to_restore(request)
        self._call_ids = frozenset(
            part.id for message in request.messages for part in message.parts if isinstance(part, ToolCall)
        )
        self._stops = () if self._endpoint.knows_stops else tuple(filter(None, request.options.stops))
        self._one_call_only = not request.parallel_tool_calls

    async def body_for(self, key: PoeKey, progress: Progress) -> bytes:  # noqa: ARG002 - it is the same for all
        return self.body

    def ask(self, body: bytes, key: str) -> Asking:
        return self._endpoint.ask(self._question.streams, body, key)

    def new_reply(self, *, keep: bool, max_bytes: int) -> Reading:
        reply = RestReply(
            self._endpoint.decoder_of(self._names),
            keep=keep,
            max_bytes=max_bytes,
            stops=self._stops,
            call_ids=self._call_ids,
            one_call_only=self._one_call_only,
        )

        return Reading(reply, partial(translating_pipeline, reply))

    def count_prompt(self, tokens: TokenCounter) -> "asyncio.Future[int]":  # noqa: ARG002 - Poe counts them
        """An estimate, for what has to be reserved, or is never reported."""
        counted: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        counted.set_result(len(self.body) // _BYTES_A_TOKEN)
        return counted

    def is_long(self, tokens: TokenCounter) -> bool:  # noqa: ARG002
        """An estimate costs nothing, so what was asked is let go of at once."""
        return True

    async def without_tools(self) -> Way:
        """Over the bot protocol: there earlier calls can be told in words."""
        return await (await self._question.with_bot()).without_tools()

    async def without_thoughts(self) -> "RestWay | None":
        request = self._question.request
        messages = [replace(message, parts=_without_thoughts(message.parts)) for message in request.messages]
        if messages == list(request.messages):
            return None
        question = self._question._replace(request=replace(request, messages=[one for one in messages if one.parts]))
        return await _with_body(question, self.json_format)

    async def translated(self) -> "RestWay | None":
        return None

    async def corrected(self, wrong: str, correction: str) -> "RestWay":
        more = (Message("assistant", [Text(wrong)]), Message("user", [Text(correction)]))
        request = replace(self._question.request, messages=[*self._question.request.messages, *more])
        return await _with_body(self._question._replace(request=request), self.json_format)


def translating_pipeline(reply: RestReply, sink: Sink, choice: int, key: str, content_type: str) -> Pipeline:
    """Has an answer translated. It knows nothing of the way: that has the prompt, and the answer may take long."""
    reply.note_key(key)
    return (WholePipeline if content_type == _JSON else StreamPipeline)(reply, sink, choice=choice)


async def plan_rest_way(question: RestQuestion) -> RestWay:
    """Plans a request for an endpoint. Raises ProxyError: it cannot be carried over."""
    endpoint, request = ENDPOINTS[question.upstream], question.request
    json_format = None if endpoint.knows_json else build_json_format(request.options.json_answer)
    if json_format is not None:
        question = question._replace(request=_instructed(request, json_format.instruction))
    return await _with_body(question, json_format)


async def _with_body(question: RestQuestion, json_format: JsonFormat | None) -> RestWay:
    build = ENDPOINTS[question.upstream].body_of
    arguments = (question.request, question.bot, question.cache)
    body = await question.off_loop.run(build, *arguments) if question.is_large else build(*arguments)
    return RestWay(question, body, json_format)


def _without_thoughts(parts: Sequence[Part]) -> Sequence[Part]:
    return [part for part in parts if not isinstance(part, Thinking)]


def _instructed(request: ChatRequest, instruction: str) -> ChatRequest:
    """The request with what the model must be told, behind the client's own system messages."""
    messages = request.messages
    at = next((at for at, one in enumerate(messages) if one.role not in _SYSTEM), len(messages))
    return replace(request, messages=[*messages[:at], Message("system", [Text(instruction)]), *messages[at:]])
