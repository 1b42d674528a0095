"""Makes images: asks a bot for them in a chat, and finds them in its answer."""

import asyncio
import base64
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from proxy.clients.tokens import Client
from proxy.core.chat_request import ChatRequest
from proxy.core.failures import NoPicture
from proxy.core.gathered import Gathered
from proxy.core.usage import Usage
from proxy.gateway.call import ChatCall
from proxy.gateway.catalogue import Catalogue
from proxy.gateway.relay import Relay
from proxy.upstreams.poe_bot.client import PoeClient
from proxy.upstreams.poe_bot.file_links import picture_urls

#: The bot that makes images when a request names none.
_DEFAULT_BOT: Final = "GPT-Image-1"


class ImageMaker:
    """Has bots make images.

    Args:
        max_bytes: the largest image that is handed on in base64.
    """

    def __init__(self, relay: Relay, catalogue: Catalogue, poe: PoeClient, *, max_bytes: int) -> None:
        self._relay = relay
        self._catalogue = catalogue
        self._poe = poe
        self._max_bytes = max_bytes

    async def plan(self, client: Client, request: ChatRequest) -> ChatCall:
        """The chat that a request comes to. Raises ProxyError: there is no such bot."""
        bot = await self._catalogue.resolve(request.model or _DEFAULT_BOT, client.models)
        return ChatCall(client, replace(request, model=bot), dialect="images")

    async def create(self, call: ChatCall) -> tuple[list[str], Usage]:
        """The URLs of the images, as many as were asked for where the bot made so many; and what was used.

        Raises:
            NoPicture: there is none in any of the answers.
            ProxyError: as ``Relay.answer``.
        """
        answer = Gathered()
        await self._relay.answer(call, answer)
        urls = [url for _, choice in answer.in_order() for url in picture_urls("".join(choice.text))]
        if not urls:
            raise NoPicture
        return urls[: call.request.options.choices], answer.usage

    async def as_base64(self, urls: Sequence[str]) -> list[str]:
        """The images themselves, fetched from Poe's hosts and no others.

        Raises:
            PoeFailed: one could not be had, or is too large.
        """
        contents = await asyncio.gather(*(self._poe.fetch_file(url, max_bytes=self._max_bytes) for url in urls))
        return [base64.b64encode(content).decode() for content in contents]
