"""The same models over the bot protocol: what they answer there costs the full price, and is not cached."""

import json
from collections.abc import AsyncIterable

import fastapi_poe as fp
from sse_starlette.event import ServerSentEvent

from proxy.demo.bots import chunk_event
from proxy.demo.rest.answering import Prompt, answer, pieces


class ModelBot(fp.PoeBot):
    """Answers as the model does over REST."""

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse | ServerSentEvent]:
        last = request.query[-1]
        results = json.loads(last.content) if last.role == "tool" else []
        schemas = {tool.function.name: tool.function.parameters.model_dump() for tool in request.tools or []}
        said = answer(
            Prompt(
                next((message.content for message in reversed(request.query) if message.role == "user"), ""),
                [(one["name"], one["content"]) for one in results],
                schemas,
            )
        )
        for piece in pieces(said.text):
            yield fp.PartialResponse(text=piece)
        for index, call in enumerate(said.calls):
            function = {"name": call.name, "arguments": call.arguments_json}
            called = {"index": index, "id": f"call_{index}", "type": "function", "function": function}
            yield chunk_event({"tool_calls": [called]}, None)
        if said.calls:
            yield chunk_event({}, "tool_calls")
