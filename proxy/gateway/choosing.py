"""Which of Poe's APIs a model is asked by, and which next when that refuses it.

By the model's own endpoint, where Poe lists that: only there a provider's prompt cache, thinking and usage are whole.

======================================= ===================== ========================================================
a model that Poe lists                  asked in              is asked by
======================================= ===================== ========================================================
of Anthropic, on ``/v1/messages``       any                   Messages
of OpenAI, on ``/v1/responses``         Chat                  Chat; Responses for tools with a reasoning effort, and for
                                                              JSON, which Chat does not enforce
                                        Messages, Responses   Responses
on ``/v1/chat/completions``             any                   Chat
any other, and what is not of text      any                   the bot protocol
======================================= ===================== ========================================================

The bot protocol comes last for every model: it serves all of them.
"""

from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Final

from proxy.core.chat_request import ChatRequest
from proxy.keypool.remembered_refusals import RememberedRefusals
from proxy.upstreams.poe_account.models import Bot

#: The bot protocol's name among the upstreams.
BOT: Final = "bot"
#: How every model can be asked, and most are.
ONLY_BOT: Final[Sequence[str]] = (BOT,)
_CHAT, _MESSAGES, _RESPONSES, _IMAGES = "chat", "messages", "responses", "images"


class UpstreamChooser:
    """One worker's.

    Args:
        default: ``auto`` or ``bot``.
        by_model: globs in lower case, each with ``auto``, ``bot`` or an endpoint; the first that matches counts.
        refusals: which endpoints have refused a model lately.
    """

    def __init__(self, default: str, by_model: Sequence[tuple[str, str]], refusals: RememberedRefusals) -> None:
        self._default = default
        self._by_model = by_model
        self._refusals = refusals

    def upstreams_for(self, name: str, bot: Bot | None, request: ChatRequest, dialect: str) -> Sequence[str]:
        """What to ask a model by, best first; the last is the bot protocol.

        Args:
            name: the model's.
            bot: what Poe's list says of it, if it does.
            request: the client's.
            dialect: that the client speaks.
        """
        setting = self._setting(name) if self._by_model else self._default
        if setting not in ("auto", BOT):
            return [setting, BOT]
        if setting == BOT or bot is None or not (bot.endpoints and bot.is_of_text) or dialect == _IMAGES:
            return ONLY_BOT
        self._refusals.look()
        wanted = _endpoints(bot, request, dialect)
        return [*(one for one in wanted if not self._refusals.knows(_refusal(name, one))), BOT]

    def note_refusal(self, name: str, upstream: str) -> None:
        """This endpoint refuses the model: the fleet remembers it for a day."""
        self._refusals.note(_refusal(name, upstream))

    def _setting(self, name: str) -> str:
        lower = name.lower()
        return next((upstream for glob, upstream in self._by_model if fnmatchcase(lower, glob)), self._default)


def _endpoints(bot: Bot, request: ChatRequest, dialect: str) -> list[str]:
    usable = bot.endpoints
    if any(name in bot.parameters for name in request.options.more):  # only Chat and the bot protocol know them
        usable &= {_CHAT}
    match bot.owned_by.lower():
        case "anthropic":
            order = [_MESSAGES]  # elsewhere nothing of its prompts is cached
        case "openai" if dialect == _CHAT and not _is_for_responses(request):
            order = [_CHAT, _RESPONSES]
        case "openai":
            order = [_RESPONSES, _CHAT]
        case _:
            order = [_CHAT]
    return [one for one in order if one in usable]


def _is_for_responses(request: ChatRequest) -> bool:
    options = request.options
    return options.json_answer is not None or bool(request.tools and options.reasoning_effort)


def _refusal(name: str, upstream: str) -> str:
    return f"{name.lower()} {upstream}"
