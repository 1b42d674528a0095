"""Answers that must be JSON: what the bot is told, and what is found in its answer."""

import json
import time
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.answer.json_format import JsonFormat, NotAsAsked
from proxy.core.chat_request import JsonAnswer
from proxy.core.failures import InvalidRequest
from proxy.dialects.openai_chat.parse import parse_chat_request
from proxy.upstreams.poe_bot.plan import Plan, build_plan
from proxy.upstreams.poe_bot.query import Message, build_query_body

PERSON: Final = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}
SCHEMA: Final = "response_format.json_schema.schema"
ANYTHING: Final = JsonFormat(JsonAnswer(SCHEMA, {}))
OBJECT: Final = JsonFormat(JsonAnswer(SCHEMA))


def plan(response_format: object, **fields: Any) -> Plan:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Who?"}]
    body = {"messages": messages, "response_format": response_format, **fields}
    return build_plan(parse_chat_request(json.dumps(body).encode()).request)


def schema_format(schema: object, **more: object) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "person", "schema": schema, **more}}


class TestAsking:
    @pytest.mark.parametrize("wanted", [None, {"type": "text"}, {"type": "text", "json_schema": {"schema": {}}}])
    def test_plain_text_needs_no_words(self, wanted: object) -> None:
        made = plan(wanted)

        assert made.json_format is None
        assert [message.role for message in made.query.messages] == ["system", "user"]

    def test_an_object_is_asked_for_behind_the_callers_own_instructions(self) -> None:
        made = plan({"type": "json_object"})

        assert [message.role for message in made.query.messages] == ["system", "system", "user"]
        assert "JSON object" in made.query.messages[1].content

    def test_the_bot_is_shown_the_schema_with_its_name_and_description(self) -> None:
        made = plan(schema_format(PERSON, description="Somebody 🙂", strict=True))
        instruction = made.query.messages[1].content

        assert json.loads(instruction.splitlines()[-1]) == PERSON
        assert "person: Somebody 🙂" in instruction

    def test_a_schema_beside_the_type_of_an_object_counts_too(self) -> None:
        """Where llama.cpp and others take it."""
        made = plan({"type": "json_object", "schema": PERSON})

        assert made.json_format == JsonFormat(JsonAnswer("response_format.schema", PERSON))
        assert json.loads(made.query.messages[1].content.splitlines()[-1]) == PERSON

    @pytest.mark.parametrize("schema", [{"type": "nonsense"}, {"required": [1]}, {"properties": 7}])
    def test_a_schema_beside_the_type_is_checked_and_named(self, schema: object) -> None:
        with pytest.raises(InvalidRequest) as caught:
            plan({"type": "json_object", "schema": schema})

        assert caught.value.param == "response_format.schema"

    def test_tools_and_a_format_may_be_asked_for_together(self) -> None:
        tools = [{"type": "function", "function": {"name": "f"}}]
        made = plan({"type": "json_object"}, tools=tools, tool_choice="required")

        assert ["calling" in message.content for message in made.query.messages] == [False, True, False, False]

    @pytest.mark.parametrize(
        ("wanted", "param"),
        [
            ("json", "response_format"),
            ({}, "response_format.type"),
            ({"type": "xml"}, "response_format.type"),
            ({"type": "json_schema"}, "response_format.json_schema"),
            ({"type": "json_schema", "schema": PERSON}, "response_format.json_schema"),
            ({"type": "json_schema", "json_schema": "x"}, "response_format.json_schema"),
            ({"type": "json_schema", "json_schema": {"name": "x"}}, "response_format.json_schema.schema"),
            (schema_format("object"), "response_format.json_schema.schema"),
            (schema_format({"type": "person"}), "response_format.json_schema.schema"),
            (schema_format({"patternProperties": {"(a+)+$": {}}}), "response_format.json_schema.schema"),
            (schema_format({"pattern": "("}), "response_format.json_schema.schema"),
            (schema_format({"description": "x" * 200_000}), "response_format.json_schema.schema"),
            (schema_format({}, name=7), "response_format.json_schema.name"),
            (schema_format({}, name="x" * 129), "response_format.json_schema.name"),
            (schema_format({}, description=[]), "response_format.json_schema.description"),
        ],
        ids=lambda value: str(value)[:70],
    )
    def test_a_wrong_format_is_named(self, wanted: object, param: str) -> None:
        with pytest.raises(InvalidRequest) as caught:
            plan(wanted)

        assert caught.value.param == param
        assert len(caught.value.message) < 500

    def test_a_problem_of_the_schema_is_told_with_its_place(self) -> None:
        with pytest.raises(InvalidRequest) as caught:
            plan(schema_format({"properties": {"age": {"minimum": "7"}}}))

        assert "$.properties.age.minimum" in caught.value.message


class TestReading:
    @pytest.mark.parametrize(
        "answer",
        [
            '{"name": "Ada"}',
            ' \n{"name": "Ada"}\n ',
            '```json\n{"name": "Ada"}\n```',
            '```\n{"name": "Ada"}\n```',
            '```JSON  \r\n{"name": "Ada"}\r\n```',
            'Here you are:\n\n```json\n{"name": "Ada"}\n```\nAnything else?',
            'For {x} in {y}:\n```json\n{"name": "Ada"}\n```\nthat is {z}.',
            'Here you are: {"name": "Ada"}. Anything else?',
            '```json\n{"name": "Ada"}',
            '**Answer:**{"name": "Ada"}',
        ],
        ids=repr,
    )
    def test_json_is_found_in_what_stands_around_it(self, answer: str) -> None:
        assert OBJECT.read(answer) == '{"name": "Ada"}'

    def test_json_stays_as_the_bot_wrote_it(self) -> None:
        """Numbers, order, white space and escapes: a client may care."""
        text = '{ "b": 1.10,\n"a": 1e2, "b": 12345678901234567890, "\\u00e9": "\\ud83d" }'

        assert OBJECT.read(f"```json\n{text}\n```") == text

    def test_a_fence_within_a_text_does_not_end_it(self) -> None:
        text = '{"code": "```python\\nprint()\\n```"}'

        assert OBJECT.read(f"```json\n{text}\n```") == text

    @pytest.mark.parametrize("text", ["[1, 2]", '"x"', "7", "null", "true"])
    def test_only_an_object_is_an_object(self, text: str) -> None:
        with pytest.raises(NotAsAsked, match="not a JSON object"):
            OBJECT.read(text)

        assert ANYTHING.read(text) == text

    @pytest.mark.parametrize("answer", ["", " ", "I cannot do that.", "{", "}{", "{'a': 1}", "{a: 1}", "[1, 2", "```"])
    def test_what_is_no_json_is_refused(self, answer: str) -> None:
        with pytest.raises(NotAsAsked, match="not JSON"):
            ANYTHING.read(answer)

    @pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
    def test_what_only_python_takes_for_json_is_refused(self, constant: str) -> None:
        with pytest.raises(NotAsAsked, match="no JSON"):
            ANYTHING.read(f'{{"a": {constant}}}')

    def test_the_schema_must_be_satisfied(self) -> None:
        wanted = JsonFormat(JsonAnswer(SCHEMA, PERSON))

        assert wanted.read('{"name": "Ada", "age": 36}') == '{"name": "Ada", "age": 36}'
        for answer, place in [('{"age": 36}', "name"), ('{"name": "Ada", "age": "36"}', r"\$\.age"), ("[]", "object")]:
            with pytest.raises(NotAsAsked, match=place):
                wanted.read(answer)

    @pytest.mark.parametrize("answer", ["[" * 100_000, "[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1"])
    def test_deep_nesting_is_an_answer_that_was_not_wanted(self, answer: str) -> None:
        with pytest.raises(NotAsAsked):
            OBJECT.read(answer)

    def test_a_schema_that_cannot_be_checked_is_the_callers_fault(self) -> None:
        with pytest.raises(InvalidRequest) as caught:
            JsonFormat(JsonAnswer(SCHEMA, {"$ref": "https://example.com/schema.json"})).read("{}")

        assert caught.value.param == "response_format.json_schema.schema"

    @pytest.mark.parametrize(
        "answer",
        [
            "```\n" + " " * 500_000,
            "```" + " " * 500_000,
            "```json\n" * 60_000,
            "`" * 500_000,
            "{" * 500_000,
            "{[" * 250_000 + "]}",
            "\n" * 500_000,
            "9" * 500_000,
            '{"a": "' + "\\" * 500_000,
        ],
        ids=lambda answer: repr(answer[:10]),
    )
    def test_a_hostile_answer_is_read_at_once(self, answer: str) -> None:
        started_at = time.monotonic()
        with pytest.raises(NotAsAsked):
            OBJECT.read(answer)

        assert time.monotonic() - started_at < 2

    def test_the_correction_says_what_was_wrong(self) -> None:
        with pytest.raises(NotAsAsked) as caught:
            JsonFormat(JsonAnswer(SCHEMA, PERSON)).read('{"name": 7}')

        assert "$.name" in JsonFormat(JsonAnswer(SCHEMA, PERSON)).correction(caught.value)

    def test_a_correction_can_always_be_sent(self) -> None:
        """Half a surrogate pair in a name is JSON, but no UTF-8."""
        wanted = JsonFormat(JsonAnswer(SCHEMA, {"additionalProperties": {"type": "string"}}))
        with pytest.raises(NotAsAsked) as caught:
            wanted.read('{"\\ud83d": 7}')
        query = plan(None).query.followed_by(Message("user", wanted.correction(caught.value)))

        assert b"ud83d" in build_query_body(query)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(value=st.dictionaries(st.text(), _JSON, max_size=4), fenced=st.booleans(), ascii_only=st.booleans())
def test_any_object_is_read_back(value: dict[str, Any], fenced: bool, ascii_only: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)

    assert OBJECT.read(f"Sure!\n```json\n{text}\n```\n" if fenced else text) == text


@given(answer=st.text(alphabet=st.sampled_from('`{}[]",: \n1ajsonN\\'), max_size=60))
def test_any_answer_is_json_or_not_as_asked(answer: str) -> None:
    text = "null"
    try:
        text = ANYTHING.read(answer)
    except NotAsAsked as problem:
        assert str(problem)  # noqa: PT017 - both outcomes are fine

    json.loads(text)
