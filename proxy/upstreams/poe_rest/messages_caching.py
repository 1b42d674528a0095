"""Where Anthropic is to cache a prompt: what comes up to a marked block is read again at a tenth of its price. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from proxy.upstreams.poe_rest.messages_blocks import Block, caching
from proxy.upstreams.poe_rest.messages_turns import Conversation

#: Anthropic refuses more marks.
_MAX_MARKS: Final = 4
_MARK: Final = "cache_control"
#: So many of the user's last turns are marked: the one that the answer before ended with was cached then.
_LAST_TURNS: Final = 2


def mark_for_caching(tools: Sequence[Block], conversation: Conversation, *, cache: bool) -> None:
    """Marks tools, system and the user's last turns, with ``cache`` and where the client has marked nothing.

    Of the client's own marks the last ones stay.
    """
    marked = [block for block in _all(tools, conversation) if _MARK in block]
    for block in marked[:-_MAX_MARKS]:
        del block[_MARK]
    if marked or not cache:
        return
    users = [turn.content for turn in conversation.turns if turn.role == "user"]
    for blocks in (tools, conversation.system, *users[-_LAST_TURNS:]):
        if blocks:
            blocks[-1].update(caching("5m"))


def _all(tools: Sequence[Block], conversation: Conversation) -> Iterator[Block]:
    """All that may have a mark, in the prompt's order."""
    yield from tools
    yield from conversation.system
    for turn in conversation.turns:
        for block in turn.content:
            inside = block.get("content")
            if block["type"] == "tool_result" and isinstance(inside, list):
                yield from inside
            yield block
