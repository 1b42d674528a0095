"""Tools that take free text, as functions."""

import json
from typing import Any

import pytest

from proxy.core.custom_tools import INPUT, as_arguments, as_description

GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: WORD"}


@pytest.mark.parametrize("text_format", [GRAMMAR, {"type": "grammar", "grammar": GRAMMAR}])
def test_the_description_has_the_grammar_whichever_api_it_came_by(text_format: dict[str, Any]) -> None:
    about, call, grammar = as_description("Patches files.", text_format).split("\n\n")

    assert about == "Patches files."
    assert "`input`" in call
    assert grammar == "The text must match this lark grammar:\nstart: WORD"


def test_a_tool_without_a_description_and_a_grammar_is_called_with_one_string() -> None:
    assert as_description("", {"type": "text"}).startswith("Call it with one string")


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ('{"input": "a\\n"}', "a\n"),
        ("a", "a"),
        ('{"input": 1}', '{"input": 1}'),
        ('{"input": "a", "b": 1}', '{"input": "a", "b": 1}'),
        ("[" * 5_000, "[" * 5_000),
    ],
)
def test_an_earlier_call_has_the_text_as_its_argument(said: str, text: str) -> None:
    assert json.loads(as_arguments(said)) == {INPUT: text}
