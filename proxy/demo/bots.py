"""A few telling bots, written as any Poe server bot is: with fastapi-poe."""

import asyncio
import json
import random
from collections.abc import AsyncIterable
from typing import Any, Final

import fastapi_poe as fp
from sse_starlette.event import ServerSentEvent

_WORD_EVERY_S = 0.12

#: bot → its parameters, as Poe's list of models names them.
PARAMETERS: Final[dict[str, list[dict[str, Any]]]] = {
    "Thinker": [{"name": "reasoning_effort", "schema": {"enum": ["low", "medium", "high"]}}],
    "Painter": [{"name": "aspect", "schema": {"enum": ["1:1", "16:9", "9:16"]}}],
}


class Echo(fp.PoeBot):
    """Says what it was told, in one piece, and what came with it."""

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        yield fp.MetaResponse(text="", content_type="text/markdown", linkify=True, suggested_replies=False)
        last = request.query[-1]
        files = "".join(f"\n\n({file.name}, {file.content_type})" for file in last.attachments)
        yield fp.PartialResponse(text=last.content + files)


class Storyteller(fp.PoeBot):
    """Streams slowly, word by word."""

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        story = (
            "Once upon a time every program spoke OpenAI, and every subscription lived at Poe. 从前，它们彼此听不懂。"
            " Then a small proxy sat down between them 🙂 and from that day on they understood each other."
        )
        for word in story.split(" "):
            yield fp.PartialResponse(text=word + " ")
            await asyncio.sleep(_WORD_EVERY_S)


class Thinker(fp.PoeBot):
    """Shows progress as replacements and thinks aloud, as Poe's thinking bots do, and then answers."""

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        for elapsed in range(1, 3):
            yield fp.PartialResponse(text=f"Thinking... ({elapsed}s elapsed)", is_replace_response=True)
            await asyncio.sleep(0.5)
        yield fp.PartialResponse(text="*Thinking...*\n\n> ", is_replace_response=True)
        for word in ("What ", "is ", "six ", "times ", "seven?\n\n"):
            yield fp.PartialResponse(text=word)
            await asyncio.sleep(_WORD_EVERY_S)
        for word in ("I", "have", "thought", "about", "it:", "the", "answer", "is", "42."):
            yield fp.PartialResponse(text=word + " ")
            await asyncio.sleep(_WORD_EVERY_S)


class Toolsmith(fp.PoeBot):
    """Calls every tool it is offered, each with an example of its arguments, and then says what they gave."""

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse | ServerSentEvent]:
        last = request.query[-1]
        if last.role == "tool":
            results = "; ".join(f"{one['name']} says {one['content']}" for one in json.loads(last.content))
            yield fp.PartialResponse(text=f"I asked: {results}.")
            return
        if not request.tools:
            yield fp.PartialResponse(text="Give me tools, and I shall call them.")
        for index, tool in enumerate(request.tools or []):
            arguments = json.dumps({name: name for name in tool.function.parameters.properties})
            for piece in (arguments[:5], arguments[5:]):
                call: dict[str, Any] = {"index": index, "function": {"arguments": piece}}
                if piece is not arguments[5:]:
                    call |= {"id": f"call_{index}", "type": "function"}
                    call["function"]["name"] = tool.function.name
                yield chunk_event({"tool_calls": [call]}, None)
        if request.tools:
            yield chunk_event({}, "tool_calls")


class Painter(fp.PoeBot):
    """Paints a picture in the shape that is asked for."""

    async def get_response_with_context(
        self, request: fp.QueryRequest, context: fp.RequestContext
    ) -> AsyncIterable[fp.PartialResponse]:
        yield fp.PartialResponse(text="Generating image...", is_replace_response=True)
        aspect = str(request.query[-1].parameters.get("aspect", "1:1")).replace(":", "x")
        url = f"{context.http_request.base_url}paintings/{aspect}.svg"
        picture = fp.Attachment(url=url, content_type="image/svg+xml", name="painting.svg")
        yield fp.PartialResponse(text="", attachment=picture)


class Moody(fp.PoeBot):
    """Fails now and then, so that failover can be seen: one time in three it reports a rate limit."""

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        if random.random() < 1 / 3:  # noqa: S311 - a mood, no secret
            yield fp.ErrorResponse(
                text="You have exceeded rate limit to query bot using User API Key. Try again later.", allow_retry=True
            )
            return
        yield fp.PartialResponse(text="I am in a good mood today.")


def chunk_event(delta: dict[str, Any], reason: str | None) -> ServerSentEvent:
    """A ``json`` event: a chunk of OpenAI's shape."""
    chunk = {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
    return ServerSentEvent(event="json", data=json.dumps(chunk))


BOTS: dict[str, type[fp.PoeBot]] = {
    bot.__name__: bot for bot in (Echo, Storyteller, Thinker, Toolsmith, Painter, Moody)
}
