"""Which requests for messages are passed through to Poe, and how their streams end. Pure.

Anthropic's fields, betas, marks for the cache and signatures stay as the client wrote them.
"""

import re
from typing import Final

from proxy.core.chat_request import ChatRequest
from proxy.upstreams.poe.sse import Event
from proxy.upstreams.poe_account.models import Bot
from proxy.upstreams.poe_rest.decoder import payload_of
from proxy.upstreams.poe_rest.passage import Passage, json_name, renamed_body

_MARK: Final = b'"cache_control"'
_BETAS: Final = re.compile(r"[\w.,; -]{1,2000}", re.ASCII)
_DONE: Final = b"[DONE]"
_STOP: Final = b"event: message_stop\n"
_WHOLE_STOP: Final = _STOP + b'data: {"type":"message_stop"}\n\n'


def passes_as_message(request: ChatRequest, passage: Passage, *, cache: bool) -> bool:
    """Whether the client's own body asks for what the client wants; with ``cache`` marks have to be in it."""
    return request.options.json_answer is None and (not cache or _MARK in passage.body)


def build_passed_message(passage: Passage, bot: Bot) -> bytes:
    """The client's body for ``bot``. In a thread when it is large."""
    return renamed_body(passage.body, json_name(bot.name))


def beta_lines(betas: str) -> str:
    """The header that names the client's betas, which its fields need; nothing where it has none."""
    return f"anthropic-beta: {betas}\r\n" if _BETAS.fullmatch(betas) else ""


class MessageStream:
    """What is different in the streams that Poe sends."""

    def names_model(self, event: Event) -> bool:
        """Only the first event does; others may quote what has such a name."""
        return b'"message_start"' in event.data

    def begins(self, event: Event) -> bool:
        """A block of anything but text is an answer, though its first words may take long, or never be shown."""
        if b"content_block_start" not in event.data:
            return False
        said = payload_of(event)
        block = said.get("content_block")
        return said.get("type") == "content_block_start" and isinstance(block, dict) and block.get("type") != "text"

    def is_wanted(self, event: Event) -> bool:
        """All but what ends the streams of OpenAI's APIs."""
        return event.data.strip() != _DONE

    def missing_in(self, end: bytes) -> bytes:
        """The last event, which Poe may leave out."""
        return b"" if _STOP in end else _WHOLE_STOP
