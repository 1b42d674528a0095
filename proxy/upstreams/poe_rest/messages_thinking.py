"""How much Claude is to think, and how long its answer may be. Pure.

Older models take a number of tokens, which is a part of ``max_tokens``; newer ones take a level of effort instead, and
refuse the number: https://docs.anthropic.com/en/docs/build-with-claude/adaptive-thinking.
"""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from proxy.core.chat_request import Options
from proxy.upstreams.poe.efforts import budget_of, check_effort, effort_of, nearest_level
from proxy.upstreams.poe_rest.messages_turns import Turn

#: The smallest budget that Anthropic takes.
_LEAST_TOKENS: Final = 1_024


#: Fields of a body, and how many tokens of thoughts they may come to.
_Fields = tuple[dict[str, Any], int]
_NO_THOUGHTS: Final[_Fields] = ({}, 0)


class Thinking(NamedTuple):
    """What a request says of thinking: the fields of its body, and the longest answer.

    Attributes:
        is_on: whether the model thinks; then some options are refused.
    """

    fields: dict[str, Any]
    max_tokens: int
    is_on: bool


def build_thinking(
    options: Options, turns: Sequence[Turn], *, max_tokens: int, efforts: Sequence[object], is_forced: bool
) -> Thinking:
    """What the options come to.

    Args:
        options: what the client asks for.
        turns: the conversation.
        max_tokens: the model's own limit.
        efforts: the model's levels of effort; empty for one that takes a number of tokens.
        is_forced: whether the answer has to be a call: Anthropic refuses that together with thoughts.

    Raises:
        InvalidRequest: there is no such effort.
    """
    if options.reasoning_effort is not None:
        check_effort(options.reasoning_effort, list(efforts))
    most = min(max_tokens, options.max_tokens or max_tokens)
    visible = options.max_visible_tokens or most
    fields, tokens = _NO_THOUGHTS
    if not is_forced:
        fields, tokens = _by_effort(options, efforts) if efforts else _by_budget(options, turns, most)
    return Thinking(fields, min(most, tokens + visible), bool(fields))


def _by_effort(options: Options, efforts: Sequence[object]) -> _Fields:
    wanted = options.reasoning_effort or "none"
    if options.thinking_tokens is not None:
        wanted = effort_of(options.thinking_tokens)
    effort = nearest_level(wanted, efforts)
    if wanted == "none" or not isinstance(effort, str) or effort == "none":
        return _NO_THOUGHTS
    fields = {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": effort}}
    return fields, budget_of(effort)


def _by_budget(options: Options, turns: Sequence[Turn], most: int) -> _Fields:
    tokens = _budget(options, most)
    if not tokens or not _may_think(turns):
        return _NO_THOUGHTS
    return {"thinking": {"type": "enabled", "budget_tokens": tokens}}, tokens


def _budget(options: Options, most: int) -> int:
    """The tokens to think with, fewer than ``most``; 0 for none. Those of an effort leave a quarter for the answer."""
    if options.thinking_tokens == 0:
        return 0
    if options.thinking_tokens is not None:
        budget = min(max(options.thinking_tokens, _LEAST_TOKENS), most - 1)
    else:
        budget = min(budget_of(options.reasoning_effort or "none"), most * 3 // 4)
    return budget if budget >= _LEAST_TOKENS else 0


def _may_think(turns: Sequence[Turn]) -> bool:
    """Whether Anthropic lets the model think here.

    Not while it goes on with a turn that did not begin with thoughts of its own: "Expected `thinking`". That is an
    answer of which the client sent the beginning, or one that waits for the results of its calls.
    """
    if turns[-1].role == "assistant":
        return False
    last = next((turn.content for turn in reversed(turns) if turn.role == "assistant"), [])
    is_waiting = any(block["type"] == "tool_use" for block in last)
    return not is_waiting or last[0]["type"] in ("thinking", "redacted_thinking")
