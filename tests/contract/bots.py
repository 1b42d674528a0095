"""A Poe for client libraries: bots served by fastapi-poe's own server, and the other routes the proxy uses.

``python -m tests.contract.bots --port 8080``. The bots decide by what they are asked, so that a client gets its answer
only when all that it sent arrived as Poe's protocol wants it.
"""

import argparse
import asyncio
import base64
import itertools
import json
import re
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from typing import Any, Final

import fastapi_poe as fp
import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from fastapi_poe.types import FunctionDefinition
from sse_starlette.event import ServerSentEvent

from proxy.demo.files import add_file_routes, is_public

KEYS: Final = ("contract-key-1", "contract-key-2")

#: What the bots know, by the name of the field it is asked for in.
FACTS: Final[dict[str, Any]] = {"name": "Ada", "age": 36, "city": "Paris", "degrees": 18}
_CITIES: Final = re.compile("Paris|Oslo")
_WEATHER: Final = "get_weather"
_REPEAT_ALL: Final = "Repeat all"
_WAITS_S: Final = itertools.cycle((0.3, 0.15, 0.0))

#: One red pixel: what the painter paints, and what clients show to bots.
PICTURE: Final = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP4z8AAAAMBAQDJ/pLvAAAAAElFTkSuQmCC"
)
PICTURE_PATH: Final = "/pictures/red.png"

Events = AsyncIterable[fp.PartialResponse | ServerSentEvent]


class Assistant(fp.PoeBot):
    """Calls the tools it is given, writes JSON when it is told to, looks at files, or repeats what it was told."""

    async def get_response(self, request: fp.QueryRequest) -> Events:
        last = request.query[-1]
        if request.tools:
            for event in _answer_with_tools(request):
                yield event
        elif last.attachments:
            yield fp.PartialResponse(text=f"I see {', '.join([await _seen(file) for file in last.attachments])}.")
        elif _wants_json(request):
            yield fp.PartialResponse(text=json.dumps({name: FACTS[name] for name in ("name", "age")}))
        elif last.content == _REPEAT_ALL:
            yield fp.PartialResponse(text="\n".join(f"{one.role}: {one.content}" for one in request.query))
        else:
            for word in f"You said: {last.content}".split(" "):
                yield fp.PartialResponse(text=word + " ")
                await asyncio.sleep(0.005)


class Thinker(fp.PoeBot):
    """Thinks aloud, as Poe shows it: a marker, quoted lines, then the answer or a call; cut at awkward places."""

    async def get_response(self, request: fp.QueryRequest) -> Events:
        for piece in ("*Think", "ing...*\n", "\n> first ", "thought\n>", " second\n"):
            yield fp.PartialResponse(text=piece)
            await asyncio.sleep(0.005)
        if request.tools:
            for event in _answer_with_tools(request):
                yield event
            return
        for piece in ("\nThe ", "answer is", " 42."):
            yield fp.PartialResponse(text=piece)


class Painter(fp.PoeBot):
    """Answers with a picture and no text."""

    async def get_response_with_context(
        self,
        request: fp.QueryRequest,  # noqa: ARG002 - fastapi-poe's signature
        context: fp.RequestContext,
    ) -> Events:
        url = str(context.http_request.base_url).rstrip("/") + PICTURE_PATH
        file = fp.Attachment(url=url, content_type="image/png", name="red.png")
        yield fp.PartialResponse(text="", attachment=file)


class Fragile(fp.PoeBot):
    """Breaks off in the middle of a sentence."""

    async def get_response(self, request: fp.QueryRequest) -> Events:  # noqa: ARG002 - fastapi-poe's signature
        yield fp.PartialResponse(text="This sentence will never")
        await asyncio.sleep(0.05)
        yield fp.ErrorResponse(text="Internal server error", allow_retry=False)


class Slow(fp.PoeBot):
    """Is silent before its first word and before its last."""

    async def get_response(self, request: fp.QueryRequest) -> Events:  # noqa: ARG002 - fastapi-poe's signature
        for word in ("Patience", " pays."):
            await asyncio.sleep(0.3)
            yield fp.PartialResponse(text=word)


class Backwards(fp.PoeBot):
    """Of three that ask at once, answers the first one last."""

    async def get_response(self, request: fp.QueryRequest) -> Events:
        await asyncio.sleep(next(_WAITS_S))
        yield fp.PartialResponse(text=f"You said: {request.query[-1].content} ")


#: Name → the bot; some under names that Poe has, so that what a page shows can be run as it is.
BOTS: Final[dict[str, type[fp.PoeBot]]] = {
    "Assistant": Assistant,
    "GPT-5": Assistant,
    "Claude-Sonnet-4.5": Assistant,
    "Gemini-2.5-Pro": Assistant,
    "Thinker": Thinker,
    "DeepSeek-R1": Thinker,
    "GPT-Image-1": Painter,
    "Fragile": Fragile,
    "Slow": Slow,
    "Backwards": Backwards,
}


def build_poe() -> FastAPI:
    """An application that answers like api.poe.com and takes uploads like www.quora.com, for ``KEYS``."""
    app = FastAPI()

    @app.middleware("http")
    async def require_key(request: Request, answer: Callable[[Request], Awaitable[Response]]) -> Response:
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        path = request.url.path
        if key not in KEYS and path not in ("/v1/models", PICTURE_PATH) and not is_public(path):
            error = {"message": "Incorrect API key provided.", "type": "authentication_error"}
            return JSONResponse({"error": error}, status_code=401)
        return await answer(request)

    @app.get("/usage/current_balance")
    async def current_balance() -> dict[str, int]:
        return {"current_point_balance": 1_000_000}

    @app.get("/v1/models")
    async def models() -> dict[str, object]:
        return {"object": "list", "data": [_card(name) for name in BOTS]}

    @app.get(PICTURE_PATH)
    async def picture() -> Response:
        return Response(PICTURE, media_type="image/png")

    add_file_routes(app)
    fp.make_app([bot(path=f"/bot/{name}") for name, bot in BOTS.items()], allow_without_key=True, app=app)
    return app


def _card(name: str) -> dict[str, object]:
    """One entry of Poe's list, in the shape of its recorded answers."""
    effort = {
        "name": "reasoning_effort",
        "schema": {"type": "string", "enum": ["low", "medium", "high"]},
        "default_value": "medium",
        "description": "How long to think.",
    }
    return {
        "id": name.lower(),
        "object": "model",
        "created": 1_763_600_000_000,
        "owned_by": "Poe",
        "root": name.lower(),
        "supported_features": ["tools"] if BOTS[name] in (Assistant, Thinker) else [],
        "metadata": {"display_name": name},
        "parameters": [effort] if BOTS[name] is Thinker else [],
    }


async def _seen(file: fp.Attachment) -> str:
    """What a bot finds that looks at the file; those of other hosts nobody fetches here."""
    if not file.url.startswith("http://127.0.0.1:"):
        return f"a file of type {file.content_type} at {file.url}"
    async with httpx.AsyncClient() as client:
        content = (await client.get(file.url)).content
    return f"a file of type {file.content_type}, {len(content)} bytes"


def _wants_json(request: fp.QueryRequest) -> bool:
    """Whether somebody says so; the questions of the tests never do."""
    return any("json" in message.content.lower() for message in request.query)


def _answer_with_tools(request: fp.QueryRequest) -> Iterable[ServerSentEvent]:
    """First the weather of each city, then the other tool if there is one, or else a report."""
    offered = {tool.function.name: tool.function for tool in request.tools or ()}
    others = [function for name, function in offered.items() if name != _WEATHER]
    if request.query[-1].role == "tool":
        cities, text = _weather_report(request)
        return _calls([_filled_in(others[0])]) if others and cities else _text_chunks(text)
    if _WEATHER in offered:
        asked = _CITIES.findall(request.query[-1].content)
        return _calls([(_WEATHER, {"city": city}) for city in asked])
    return _calls([_filled_in(others[0])])


def _filled_in(function: FunctionDefinition) -> tuple[str, dict[str, Any]]:
    return function.name, {name: FACTS[name] for name in function.parameters.properties}


def _weather_report(request: fp.QueryRequest) -> tuple[list[str], str]:
    """The cities of the last results and a report on them; each result must follow its call, as Poe wants it."""
    calls, results = request.query[-2], json.loads(request.query[-1].content)
    if calls.role != "bot" or calls.message_type != "function_call":
        return [], "The results do not follow their calls."
    by_id = {call["id"]: call["function"] for call in json.loads(calls.content)}
    if [(one["tool_call_id"], one["name"]) for one in results] != [(at, one["name"]) for at, one in by_id.items()]:
        return [], "The results do not belong to the calls."
    cities = [json.loads(function["arguments"])["city"] for function in by_id.values()]
    found = [f"{city}: {one['content']}" for city, one in zip(cities, results, strict=True)]
    return cities, ", ".join(found) + "."


def _calls(calls: list[tuple[str, dict[str, Any]]]) -> Iterable[ServerSentEvent]:
    """One call after the other, its arguments in pieces, as OpenAI streams them; ids repeat from answer to answer."""
    for index, (name, arguments) in enumerate(calls):
        head = {"index": index, "id": f"call_{index}", "type": "function", "function": {"name": name, "arguments": ""}}
        yield _chunk({"tool_calls": [head]})
        text = json.dumps(arguments)
        for piece in (text[:4], text[4:9], text[9:]):
            yield _chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})
    yield _chunk({}, finish_reason="tool_calls")


def _text_chunks(text: str) -> Iterable[ServerSentEvent]:
    """Text as it may come when there are tools: in chunks of its own."""
    for word in re.findall(r"\S+\s*", text):
        yield _chunk({"content": word})
    yield _chunk({}, finish_reason="stop")


def _chunk(delta: dict[str, Any], *, finish_reason: str | None = None) -> ServerSentEvent:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return ServerSentEvent(event="json", data=json.dumps({"choices": [choice]}))


def main() -> None:
    """Play Poe on 127.0.0.1."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvicorn.run(build_poe(), host="127.0.0.1", port=parser.parse_args().port, log_level="warning")


if __name__ == "__main__":
    main()
