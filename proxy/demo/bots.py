"""A few telling bots, written as any Poe server bot is: with fastapi-poe."""

import asyncio
import random
from collections.abc import AsyncIterable

import fastapi_poe as fp

_WORD_EVERY_S = 0.12


class Echo(fp.PoeBot):
    """Says what it was told, in one piece."""

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        yield fp.MetaResponse(text="", content_type="text/markdown", linkify=True, suggested_replies=False)
        yield fp.PartialResponse(text=request.query[-1].content)


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
    """Shows progress as replacements, as Poe's thinking and image bots do, and then answers."""

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        yield fp.PartialResponse(text="Thinking...", is_replace_response=True)
        for elapsed in range(1, 4):
            await asyncio.sleep(0.5)
            yield fp.PartialResponse(text=f"Thinking... ({elapsed}s elapsed)", is_replace_response=True)
        yield fp.PartialResponse(text="I have thought about it: ", is_replace_response=True)
        for word in ("the", "answer", "is", "42."):
            yield fp.PartialResponse(text=word + " ")
            await asyncio.sleep(_WORD_EVERY_S)


class Moody(fp.PoeBot):
    """Fails now and then, so that failover can be seen: one time in three it reports a rate limit."""

    async def get_response(self, request: fp.QueryRequest) -> AsyncIterable[fp.PartialResponse]:
        if random.random() < 1 / 3:  # noqa: S311 - a mood, no secret
            yield fp.ErrorResponse(
                text="You have exceeded rate limit to query bot using User API Key. Try again later.", allow_retry=True
            )
            return
        yield fp.PartialResponse(text="I am in a good mood today.")


BOTS: dict[str, type[fp.PoeBot]] = {"Echo": Echo, "Storyteller": Storyteller, "Thinker": Thinker, "Moody": Moody}
