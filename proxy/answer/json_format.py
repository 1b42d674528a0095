"""Answers that must be JSON: asked for by instruction, since Poe has no such mode, and checked here. Pure."""

import json
import re
from typing import Any, Final, NamedTuple

from proxy.answer.json_schema import BadSchema, check_schema, problem_of
from proxy.core.chat_request import JsonAnswer
from proxy.core.failures import InvalidRequest

_FENCE: Final = re.compile(r"```[\w-]{0,20}[ \t]{0,20}\r?\n")
_ONLY: Final = "No other text before or after it, and no code fence."


class NotAsAsked(Exception):
    """The answer is not the JSON that was asked for; the text says why, for the bot to read."""


class JsonFormat(NamedTuple):
    """The JSON that an answer must be: any object, or a value after a schema."""

    wanted: JsonAnswer

    @property
    def instruction(self) -> str:
        """What to tell the bot."""
        if self.wanted.schema is None:
            return f"Answer with one JSON object and nothing else. {_ONLY}"
        about = ": ".join(filter(None, (self.wanted.name, self.wanted.description)))
        schema = json.dumps(self.wanted.schema, ensure_ascii=False)
        return f"Answer with one JSON value that satisfies this JSON Schema. {_ONLY}\n\n{about}\n{schema}".strip()

    def correction(self, problem: NotAsAsked) -> str:
        """What to tell the bot after an answer that was wrong."""
        return (
            f"This is not what I asked for: {problem}. Answer again with the corrected JSON and nothing else. {_ONLY}"
        )

    def read(self, answer: str) -> str:
        """The JSON in an answer, as the bot wrote it, without a fence or talk around it.

        May take a second or two for a hostile schema: call it in a thread.

        Raises:
            NotAsAsked: there is none, or it does not satisfy the schema.
            InvalidRequest: the schema cannot be checked.
        """
        text, value = _json_in(answer)
        if self.wanted.schema is None:
            if not isinstance(value, dict):
                raise NotAsAsked("it is not a JSON object")
            return text
        try:
            problem = problem_of(value, self.wanted.schema)
        except BadSchema as error:
            raise _bad_schema(self.wanted, error) from None
        if problem is not None:
            raise NotAsAsked(problem)
        return text


def build_json_format(wanted: JsonAnswer | None) -> JsonFormat | None:
    """The format a request asks for, None for plain text.

    Raises:
        InvalidRequest: the schema is none.
    """
    if wanted is None:
        return None
    if wanted.schema is not None:
        try:
            check_schema(wanted.schema)
        except BadSchema as error:
            raise _bad_schema(wanted, error) from None
    return JsonFormat(wanted)


def _bad_schema(wanted: JsonAnswer, error: BadSchema) -> InvalidRequest:
    return InvalidRequest(f"Invalid value for '{wanted.path}': {error}.", param=wanted.path)


def _json_in(answer: str) -> tuple[str, Any]:
    """The JSON of an answer: all of it, else what is fenced, else what stands between the outermost brackets."""
    candidates = [answer.strip(), _fenced(answer), _between_brackets(answer)]
    problem = "it is not JSON"
    for text in filter(None, candidates):
        try:
            return text, json.loads(text, parse_constant=_refuse)
        except RecursionError:
            raise NotAsAsked("it is nested too deeply") from None
        except ValueError as error:
            problem = f"it is not JSON ({error})" if text is candidates[0] else problem
    raise NotAsAsked(problem)


def _fenced(text: str) -> str:
    fence = _FENCE.search(text)
    return text[fence.end() :].partition("```")[0].strip() if fence else ""


def _between_brackets(text: str) -> str:
    start = min((at for at in (text.find("{"), text.find("[")) if at >= 0), default=0)
    return text[start : max(text.rfind("}"), text.rfind("]")) + 1]


def _refuse(constant: str) -> None:
    """NaN and Infinity are no JSON, whatever Python thinks."""
    raise ValueError(f"{constant} is no JSON")
