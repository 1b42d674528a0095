"""Fields of a request as the bot's own parameters, which Poe's list names with a JSON Schema each. Pure.

A field of the same name goes as it is. ``reasoning_effort`` and the token limits are put into whatever the bot has for
them. A bot that is not listed has no parameters that we know of.
"""

from collections.abc import Mapping
from typing import Any, Final

from proxy.errors import InvalidRequest
from proxy.openai_api.request import ChatCompletionRequest
from proxy.translator.json_schema import BadSchema, problem_of

#: Fields of OpenAI's that bots may have as parameters under the same name.
_SAME_NAME: Final = ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty", "reasoning_effort")
#: ``reasoning_effort`` → its part of the largest thinking budget, in order.
_EFFORTS: Final = {"none": 0.0, "minimal": 0.05, "low": 0.2, "medium": 0.5, "high": 0.8, "xhigh": 0.95, "max": 1.0}
_LEVELS: Final = tuple(_EFFORTS)
#: What bots call how much they think: a level, a number of tokens, or whether at all.
_THINKING: Final = (
    "reasoning_effort",
    "output_effort",
    "effort",
    "thinking_level",
    "thinking_budget",
    "enable_thinking",
    "deep_thinking",
)
#: The largest thinking budget where the bot states none, in tokens.
_BUDGET_TOKENS: Final = 32_768
_TOKEN_LIMIT: Final = "max_output_tokens"  # noqa: S105 - no secret

Schemas = Mapping[str, Mapping[str, Any]]


def build_parameters(request: ChatCompletionRequest, schemas: Schemas) -> dict[str, Any]:
    """The parameters of a bot with these ``schemas`` (name → JSON Schema), name → value.

    Raises:
        InvalidRequest: a value is not as the bot's schema has it, or ``reasoning_effort`` is none.
    """
    _check_effort(request, schemas)
    given = {**(request.model_extra or {}), **{name: getattr(request, name) for name in _SAME_NAME}}
    chosen = {name: value for name, value in given.items() if name in schemas and value is not None}
    if request.reasoning_effort is not None and not any(name in chosen for name in _THINKING[1:]):
        for name in _THINKING:
            if name in schemas:
                chosen[name] = _effort_as(request.reasoning_effort, schemas[name])
    limit = request.max_completion_tokens or request.max_tokens
    if limit is not None and _TOKEN_LIMIT in schemas and _TOKEN_LIMIT not in chosen:
        chosen[_TOKEN_LIMIT] = _within(limit, schemas[_TOKEN_LIMIT])
    for name, value in chosen.items():
        _check(name, value, schemas[name])
    return chosen


def _check_effort(request: ChatCompletionRequest, schemas: Schemas) -> None:
    effort = request.reasoning_effort
    own = schemas.get("reasoning_effort", {}).get("enum")
    if effort is not None and effort not in _EFFORTS and not (isinstance(own, list) and effort in own):
        levels = ", ".join(_LEVELS)
        raise InvalidRequest(
            f"Invalid value for 'reasoning_effort': must be one of {levels}.", param="reasoning_effort"
        )


def _effort_as(effort: str, schema: Mapping[str, Any]) -> object:
    """The effort in the form that the schema has: the nearest of its levels, a number of tokens, or yes or no."""
    levels = schema.get("enum")
    if isinstance(levels, list) and levels:
        return _nearest_level(effort, levels)
    if schema.get("type") == "boolean":
        return effort != "none"
    if schema.get("type") in ("integer", "number"):
        largest = schema.get("maximum")
        budget = _EFFORTS.get(effort, 0.5) * (largest if isinstance(largest, int | float) else _BUDGET_TOKENS)
        return _within(round(budget), schema)
    return effort


def _nearest_level(effort: str, levels: list[Any]) -> object:
    """Of the bot's levels the one nearest to what was asked for, rather more than less."""
    if effort in levels:
        return effort
    known = [level for level in levels if level in _EFFORTS]
    if not known:
        return levels[0]
    wanted = _LEVELS.index(effort)
    return min(known, key=lambda level: (abs(_LEVELS.index(level) - wanted), -_LEVELS.index(level)))


def _within(number: int, schema: Mapping[str, Any]) -> int:
    least, most = schema.get("minimum"), schema.get("maximum")
    if isinstance(most, int | float):
        number = min(number, int(most))
    return max(number, int(least)) if isinstance(least, int | float) else number


def _check(name: str, value: object, schema: Mapping[str, Any]) -> None:
    try:
        problem = problem_of(value, schema)
    except BadSchema:  # Poe's, not the caller's; the bot will say what it thinks of the value
        return
    if problem is not None:
        problem = problem.removeprefix("at $: ")
        raise InvalidRequest(f"Invalid value for '{name}': this model takes another: {problem}.", param=name)
