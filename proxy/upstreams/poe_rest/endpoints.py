"""Poe's three REST endpoints for chats, and what tells them apart."""

from collections.abc import Callable, Collection, Mapping
from typing import Final, NamedTuple

from proxy.core.chat_request import ChatRequest
from proxy.upstreams.poe.asking import Asking
from proxy.upstreams.poe.streams import PoeStreams
from proxy.upstreams.poe_account.models import Bot
from proxy.upstreams.poe_rest.chat_body import build_chat_body
from proxy.upstreams.poe_rest.chat_decoder import ChatDecoder
from proxy.upstreams.poe_rest.decoder import Decoder
from proxy.upstreams.poe_rest.faults import fault_of_answer
from proxy.upstreams.poe_rest.messages_body import build_messages_body
from proxy.upstreams.poe_rest.messages_decoder import MessagesDecoder
from proxy.upstreams.poe_rest.responses_body import build_responses_body
from proxy.upstreams.poe_rest.responses_decoder import ResponsesDecoder

_TYPES: Final[Collection[str]] = frozenset({"text/event-stream", "application/json"})
#: What an answer may have at most where Poe's list does not say: Anthropic's API needs a limit, and this is one that
#: each of its models takes.
_OUTPUT_TOKENS: Final = 4_096
#: The parameter by which Poe lists how hard a model of Anthropic's can be told to think, where it can.
_EFFORT: Final = "output_effort"


class Endpoint(NamedTuple):
    """One of them.

    Attributes:
        path: at Poe.
        header_lines: that a request to it needs beside the usual ones.
        knows_stops: whether it ends an answer at a stop sequence of the request.
        knows_json: whether it sees to it that an answer is the JSON that was asked for.
        body_of: a request's body, given the model, and whether its prompt should be cached.
        decoder_of: reads one answer, given the tools' own names by those that the model knows.
    """

    path: str
    header_lines: str
    knows_stops: bool
    knows_json: bool
    body_of: "Callable[[ChatRequest, Bot, bool], bytes]"
    decoder_of: "Callable[[Mapping[str, str]], Decoder]"

    def ask(
        self, streams: PoeStreams, body: bytes, key: str, *, more_lines: str = "", is_whole: bool = False
    ) -> Asking:
        """One request, to be entered.

        Args:
            streams: the connections to Poe.
            body: what is asked.
            key: the Poe key that pays.
            more_lines: of its head, each with its line end.
            is_whole: the answer does not stream.
        """
        return streams.post(
            self.path,
            body,
            key,
            header_lines=self.header_lines + more_lines,
            types=_TYPES,
            fault_of=fault_of_answer,
            is_whole=is_whole,
        )


def _chat_body(request: ChatRequest, bot: Bot, _: bool) -> bytes:  # noqa: FBT001 - as all of them
    return build_chat_body(request, model=bot.name, stream=True, parameters=bot.parameters)


def _messages_body(request: ChatRequest, bot: Bot, cache: bool) -> bytes:  # noqa: FBT001
    efforts = bot.parameters.get(_EFFORT, {}).get("enum")
    return build_messages_body(
        request,
        model=bot.name,
        stream=True,
        max_tokens=bot.output_tokens or _OUTPUT_TOKENS,
        cache=cache,
        efforts=efforts if isinstance(efforts, list) else (),
    )


def _responses_body(request: ChatRequest, bot: Bot, _: bool) -> bytes:  # noqa: FBT001
    return build_responses_body(request, model=bot.name, stream=True)


#: By the name that each has among the upstreams.
ENDPOINTS: Final[Mapping[str, Endpoint]] = {
    "chat": Endpoint(
        path="/v1/chat/completions",
        header_lines="poe-feature: chat-completions-strict\r\n",
        knows_stops=True,
        knows_json=False,
        body_of=_chat_body,
        decoder_of=lambda names: ChatDecoder(names=names),
    ),
    "messages": Endpoint(
        path="/v1/messages",
        header_lines="anthropic-version: 2023-06-01\r\n",
        knows_stops=True,
        knows_json=False,
        body_of=_messages_body,
        decoder_of=lambda names: MessagesDecoder(names=names),
    ),
    "responses": Endpoint(
        path="/v1/responses",
        header_lines="",
        knows_stops=False,
        knows_json=True,
        body_of=_responses_body,
        decoder_of=lambda names: ResponsesDecoder(names=names),
    ),
}
