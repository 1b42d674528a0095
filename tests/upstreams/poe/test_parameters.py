"""Fields of a request as a bot's own parameters, as nearly as the bot takes them."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.chat_request import ChatRequest, Options
from proxy.core.failures import InvalidRequest
from proxy.dialects.openai_chat.parse import parse_chat_request
from proxy.upstreams.poe.parameters import build_parameters
from proxy.upstreams.poe_account.models import Schemas
from proxy.upstreams.poe_bot.plan import build_plan
from proxy.upstreams.poe_bot.query import build_query_body

EFFORTS: Final = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
LEVELS: Final = {"enum": ["low", "medium", "high"]}


def request(**fields: Any) -> ChatRequest:
    return parse_chat_request(
        json.dumps({"messages": [{"role": "user", "content": "Hello"}], **fields}).encode()
    ).request


def parameters(schemas: Schemas, **fields: Any) -> dict[str, Any]:
    return build_parameters(request(**fields).options, schemas)


def refused(schemas: Schemas, **fields: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        parameters(schemas, **fields)
    return caught.value


class TestSameName:
    @pytest.mark.parametrize(
        ("name", "schema", "value"),
        [
            ("temperature", {"type": "number", "minimum": 0, "maximum": 1}, 0.5),
            ("temperature", {"type": "number"}, 0),
            ("top_p", {"type": "number"}, 1),
            ("seed", {"type": "integer"}, -(2**70)),
            ("presence_penalty", {"type": "number"}, -2),
            ("aspect", {"enum": ["16:9", "1:1"]}, "16:9"),
            ("web_search", {"type": "boolean"}, False),
            ("anything", {}, {"deep": [1, None]}),
            ("aspect_ratio", {"anyOf": [{"type": "string"}]}, ""),
        ],
    )
    def test_a_field_goes_to_the_parameter_of_its_name(self, name: str, schema: dict[str, Any], value: object) -> None:
        assert parameters({name: schema}, **{name: value}) == {name: value}

    def test_an_option_of_anthropics_goes_there_too(self) -> None:
        assert build_parameters(Options(top_k=4), {"top_k": {"type": "integer"}}) == {"top_k": 4}

    def test_a_field_that_is_no_parameter_is_left_out(self) -> None:
        assert parameters({"aspect": {}}, temperature=1, seed=1, style="vivid") == {}

    @pytest.mark.parametrize("name", ["temperature", "aspect", "reasoning_effort"])
    def test_null_is_the_same_as_leaving_a_field_out(self, name: str) -> None:
        assert parameters({name: {}}, **{name: None}) == {}

    @pytest.mark.parametrize("name", ["messages", "model", "stream", "stop", "n", "tools", "user"])
    def test_fields_of_the_conversation_are_no_parameters(self, name: str) -> None:
        values = {"model": "x", "stream": True, "stop": "x", "n": 1, "tools": [], "user": "x"}

        assert parameters({name: {}}, **values) == {}

    @pytest.mark.parametrize(
        ("name", "schema", "value"),
        [
            ("temperature", {"maximum": 1}, 1.5),
            ("seed", {"minimum": 0}, -1),
            ("aspect", {"enum": ["1:1"]}, "16:9"),
            ("web_search", {"type": "boolean"}, "true"),
            ("duration", {"type": "integer"}, 2.5),
            ("size", {"type": "object", "properties": {"width": {"maximum": 5}}}, {"width": 6}),
            ("strength", {"type": "number"}, float("nan")),
            ("strength", {"type": "array"}, [float("inf")]),
        ],
    )
    def test_a_value_that_the_bot_does_not_take_is_named(
        self, name: str, schema: dict[str, Any], value: object
    ) -> None:
        error = refused({name: schema}, **{name: value})

        assert error.param == name
        assert f"'{name}'" in error.message

    def test_a_schema_of_poes_that_is_none_stops_nobody(self) -> None:
        assert parameters({"style": {"type": "colour"}}, style="red") == {"style": "red"}

    def test_a_bot_that_is_not_listed_has_no_parameters(self) -> None:
        fields = {"temperature": 1, "reasoning_effort": "high", "max_tokens": 5, "aspect": "1:1", "thinking_budget": 1}

        assert parameters({}, **fields) == {}
        assert build_plan(request(**fields)).query.messages[0].parameters == {}


class TestEffort:
    @pytest.mark.parametrize("name", ["reasoning_effort", "output_effort", "effort", "thinking_level"])
    def test_a_level_goes_under_whatever_the_bot_calls_it(self, name: str) -> None:
        assert parameters({name: LEVELS}, reasoning_effort="high") == {name: "high"}

    @pytest.mark.parametrize(
        ("effort", "levels", "nearest"),
        [
            ("none", ["low", "medium", "high"], "low"),
            ("minimal", ["low", "high"], "low"),
            ("medium", ["low", "high"], "high"),
            ("xhigh", ["none", "low", "medium", "high"], "high"),
            ("max", ["minimal"], "minimal"),
            ("minimal", ["high", "none", "auto", None, 7, ["minimal"]], "none"),
        ],
    )
    def test_a_level_that_the_bot_lacks_becomes_the_nearest(
        self, effort: str, levels: list[object], nearest: str
    ) -> None:
        """Of two that are as near, the one with more effort."""
        assert parameters({"effort": {"enum": levels}}, reasoning_effort=effort) == {"effort": nearest}

    def test_a_level_of_the_bots_own_is_taken_as_it_is(self) -> None:
        """And where another parameter has no such level, that keeps its default."""
        schemas: Schemas = {"reasoning_effort": {"enum": ["auto", "low"]}, "output_effort": LEVELS}

        assert parameters(schemas, reasoning_effort="auto") == {"reasoning_effort": "auto"}

    @pytest.mark.parametrize("levels", [[], ["on", "off"], [True, False], [[], {}]])
    def test_a_bot_whose_levels_say_nothing_keeps_its_default(self, levels: list[object]) -> None:
        assert parameters({"effort": {"enum": levels}}, reasoning_effort="high") == {}

    @pytest.mark.parametrize(("effort", "thinks"), [("none", False), ("minimal", True), ("max", True)])
    def test_whether_to_think_at_all(self, effort: str, thinks: bool) -> None:
        assert parameters({"enable_thinking": {"type": "boolean"}}, reasoning_effort=effort) == {
            "enable_thinking": thinks
        }

    @pytest.mark.parametrize(
        ("schema", "effort", "tokens"),
        [
            ({"type": "integer", "maximum": 10_000}, "medium", 5_000),
            ({"type": "integer", "maximum": 10_000}, "max", 10_000),
            ({"type": "integer", "maximum": 10_000, "minimum": 1_024}, "none", 1_024),
            ({"type": "integer", "maximum": 10_000}, "none", 0),
            ({"type": "number", "maximum": 10_000.0}, "low", 2_000),
            ({"type": "integer"}, "max", 32_768),
            ({"type": "integer", "minimum": 50_000}, "low", 50_000),
            ({"type": "integer", "maximum": "many"}, "max", 32_768),
            ({"type": "integer", "maximum": float("inf")}, "max", 32_768),
            ({"type": "integer", "maximum": 10**400}, "max", 32_768),
        ],
    )
    def test_a_budget_is_a_part_of_the_largest(self, schema: dict[str, Any], effort: str, tokens: int) -> None:
        assert parameters({"thinking_budget": schema}, reasoning_effort=effort) == {"thinking_budget": tokens}

    def test_a_budget_that_the_bot_does_not_take_is_left_out(self) -> None:
        """The caller did not set it, and cannot be blamed for it."""
        schema = {"type": "integer", "maximum": 10_000, "multipleOf": 999}

        assert parameters({"thinking_budget": schema}, reasoning_effort="low") == {}

    def test_more_effort_never_means_a_smaller_budget(self) -> None:
        schema = {"type": "integer", "maximum": 64_000, "minimum": 1_024}
        budgets = [
            parameters({"thinking_budget": schema}, reasoning_effort=effort)["thinking_budget"] for effort in EFFORTS
        ]

        assert budgets == sorted(budgets)

    def test_what_the_caller_says_in_the_bots_own_words_wins(self) -> None:
        schemas: Schemas = {"thinking_budget": {"type": "integer"}, "enable_thinking": {"type": "boolean"}}

        assert parameters(schemas, reasoning_effort="high", thinking_budget=7) == {"thinking_budget": 7}

    @pytest.mark.parametrize("effort", ["", "huge", "HIGH", "low "])
    def test_an_unknown_effort_is_named(self, effort: str) -> None:
        """Whether or not the bot has a parameter for it."""
        for schemas in ({}, {"reasoning_effort": LEVELS}):
            assert refused(schemas, reasoning_effort=effort).param == "reasoning_effort"


class TestTokenLimit:
    @pytest.mark.parametrize(
        ("fields", "limit"),
        [
            ({"max_tokens": 50}, 50),
            ({"max_completion_tokens": 50}, 50),
            ({"max_tokens": 99, "max_completion_tokens": 50}, 50),
            ({"max_tokens": 5}, 16),
            ({"max_tokens": 2**80}, 128_000),
            ({"max_tokens": 50, "max_output_tokens": 70}, 70),
        ],
    )
    def test_a_limit_is_put_within_the_bots_own(self, fields: dict[str, Any], limit: int) -> None:
        schemas: Schemas = {"max_output_tokens": {"type": "integer", "minimum": 16, "maximum": 128_000}}

        assert parameters(schemas, **fields) == {"max_output_tokens": limit}

    def test_a_limit_of_the_callers_own_in_the_bots_words_is_checked(self) -> None:
        assert refused({"max_output_tokens": {"minimum": 16}}, max_output_tokens=5).param == "max_output_tokens"


def test_a_parameter_has_a_bound_and_a_field_that_is_none_has_not() -> None:
    assert refused({"style": {}}, style=["x" * 10_000] * 14).param == "style"
    assert parameters({"style": {}}, style="x" * 100_000)
    assert parameters({}, style="x" * 200_000) == {}


def test_parameters_stand_at_the_users_last_message() -> None:
    """Poe looks for them there, whatever comes after it."""
    turns = [
        {"role": "user", "content": "1"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "3"},
        {"role": "assistant", "tool_calls": [{"id": "a", "function": {"name": "f", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "a", "content": "x"},
    ]
    query = build_plan(request(messages=turns, seed=7), {"seed": {}}).query

    assert [message.parameters for message in query.messages] == [{}, {}, {"seed": 7}, {}, {}]


def test_without_a_user_parameters_stand_at_the_last_message() -> None:
    query = build_plan(request(messages=[{"role": "system", "content": "x"}] * 2, seed=7), {"seed": {}}).query

    assert [message.parameters for message in query.messages] == [{}, {"seed": 7}]


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(EFFORTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
_KEYWORDS = st.sampled_from(["type", "enum", "minimum", "maximum", "multipleOf", "pattern", "$ref", "const", "items"])
_NAMES = st.sampled_from(["reasoning_effort", "thinking_budget", "effort", "enable_thinking", "max_output_tokens", "x"])
_SCHEMAS = st.dictionaries(_NAMES, st.dictionaries(_KEYWORDS, _JSON | st.sampled_from(["integer", "boolean"])))


@given(schemas=_SCHEMAS, effort=st.sampled_from(EFFORTS), limit=st.integers(1), value=_JSON)
def test_whatever_poe_lists_a_request_is_built_or_refused_by_name(
    schemas: Schemas, effort: str, limit: int, value: object
) -> None:
    asked = request(reasoning_effort=effort, max_tokens=limit, x=value)
    param: object = "x"
    try:
        build_query_body(build_plan(asked, schemas).query)
    except InvalidRequest as error:
        param = error.param

    assert param == "x"
