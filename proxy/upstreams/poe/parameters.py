"""Options of a request as the bot's own parameters, which Poe's list names with a JSON Schema each. Pure.

A field of the same name goes as it is. ``reasoning_effort`` and the token limits are put into whatever the bot has for
them, as nearly as it takes them. A bot that is not listed has no parameters that we know of.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from proxy.answer.json_schema import BadSchema, is_longer_than, problem_of
from proxy.core.chat_request import Options
from proxy.core.failures import InvalidRequest
from proxy.upstreams.poe.efforts import budget_of, check_effort, nearest_level
from proxy.upstreams.poe.image_shape import build_shape
from proxy.upstreams.poe_account.models import Schemas

#: Fields of OpenAI's that bots may have as parameters under the same name.
_SAME_NAME: Final = ("temperature", "top_p", "top_k", "seed", "presence_penalty", "frequency_penalty")
#: What bots call how much they think: a level, a number of tokens, or whether at all.
THINKING: Final = (
    "reasoning_effort",
    "output_effort",
    "effort",
    "thinking_level",
    "thinking_budget",
    "enable_thinking",
    "deep_thinking",
)
#: Longest value of a parameter; to write it would keep Python's lock.
_MAX_CHARACTERS: Final = 131_072
_SENSELESS: Final = 10**15
_TOKEN_LIMIT: Final = "max_output_tokens"  # noqa: S105 - no secret


def build_parameters(options: Options, schemas: Schemas) -> dict[str, Any]:
    """The parameters of a bot with these ``schemas`` (name → JSON Schema), name → value.

    Raises:
        InvalidRequest: a value is not as the bot's schema has it, or ``reasoning_effort`` is none.
    """
    if options.reasoning_effort is not None:
        check_effort(options.reasoning_effort, schemas.get("reasoning_effort", {}).get("enum"))
    if not schemas:
        return {}
    known = {name: value for name in _SAME_NAME if (value := getattr(options, name)) is not None}
    given = {**options.more, **known, **build_shape(options.image_size, schemas)}
    chosen = {name: value for name, value in given.items() if name in schemas and value is not None}
    for name, value in chosen.items():
        if is_longer_than(value, _MAX_CHARACTERS):
            raise InvalidRequest(f"Invalid value for '{name}': more than {_MAX_CHARACTERS} characters.", param=name)
        if problem := _problem(value, schemas[name]):
            raise InvalidRequest(f"Invalid value for '{name}': this model takes another: {problem}.", param=name)
    derived = {**_effort(options, schemas, chosen), **_token_limit(options, schemas)}
    fitting = {name: value for name, value in derived.items() if not _problem(value, schemas[name])}
    return {**fitting, **chosen}


def _effort(options: Options, schemas: Schemas, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """``reasoning_effort`` for whatever the bot has for it, unless the caller set that too."""
    effort = options.reasoning_effort
    if effort is None:
        return {}
    names = THINKING[:1] if any(name in chosen for name in THINKING) else THINKING
    efforts = {name: _effort_as(effort, schemas[name]) for name in names if name in schemas}
    return {name: value for name, value in efforts.items() if value is not None}


def _effort_as(effort: str, schema: Mapping[str, Any]) -> object:
    """The effort in the form that the schema has: the nearest of its levels, a number of tokens, or yes or no.

    None when it has no such form; then the bot goes by its default.
    """
    levels = schema.get("enum")
    if isinstance(levels, list):
        return nearest_level(effort, levels)
    if schema.get("type") == "boolean":
        return effort != "none"
    if schema.get("type") in ("integer", "number"):
        return _within(budget_of(effort, _bound(schema, "maximum")), schema)
    return effort


def _token_limit(options: Options, schemas: Schemas) -> dict[str, Any]:
    """OpenAI's limit on tokens as the bot's, which may be narrower."""
    limit = options.max_tokens or options.max_visible_tokens
    if limit is None or _TOKEN_LIMIT not in schemas:
        return {}
    return {_TOKEN_LIMIT: _within(limit, schemas[_TOKEN_LIMIT])}


def _within(number: int, schema: Mapping[str, Any]) -> int:
    least, most = _bound(schema, "minimum"), _bound(schema, "maximum")
    if most is not None:
        number = min(number, int(most))
    return number if least is None else max(number, int(least))


def _bound(schema: Mapping[str, Any], name: str) -> float | None:
    """A bound that the schema states, unless it is beyond all sense."""
    bound = schema.get(name)
    return bound if isinstance(bound, int | float) and abs(bound) < _SENSELESS else None


def _problem(value: object, schema: Mapping[str, Any]) -> str | None:
    try:
        json.dumps(value, allow_nan=False)
        problem = problem_of(value, schema)
    except BadSchema:  # Poe's, not the caller's; the bot will say what it thinks of the value
        return None
    except ValueError:
        return "a number in it is not finite"
    return problem and problem.removeprefix("at $: ")
