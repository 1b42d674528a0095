"""Schemas that clients send: what they say of a value, and that none of them holds up the proxy."""

import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final
from unittest import mock

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.answer.json_schema import MAX_SCHEMA_CHARACTERS, BadSchema, check_schema, is_longer_than, problem_of

#: Longest that anything here may take, in seconds, on a busy machine; a check gives up after a fifth of one.
BOUND_S: Final = 4.0
ROOT: Final = Path(__file__).parents[2]


#: Small patterns that are large when written out, some with what could lead a counter of brackets astray.
GIGABYTES: Final = (
    "((((a{1000}){1000}){1000}){1000}){1000}",
    "a{1000000000}",
    "(?:ab){1000000000}",
    "(?:a{1000}?){1000000}",
    "(?:a{1000000,}|b)*",
    "[ab]{100000}{100000}",
    "(a{1000}(?#()){1000}{1000}",
    "(a{1000}[[:alpha:](]){1000}[[:alpha:])]{1000}",
    "(?x)(a{1000}#(\n){1000}{1000}",
    "(?V1)(a{1000}[[(]]){1000}{1000}",
    "(a{1000}[(]){1000}[)]{1000}(a{1000}\\()({1000}",
    "(?#(()(?:(?#[)(?:a{1000}){10000}(?#]))",
    ")a",
    "a" * 20_000,
)


@pytest.fixture(autouse=True)
def _short_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two seconds are short for a caller, and long for this many tests."""
    monkeypatch.setattr("proxy.answer.json_schema._MAX_CHECK_S", 0.2)


def doubling(keyword: str, last: dict[str, Any], depth: int = 40) -> dict[str, Any]:
    """A small schema that refers to its last part 2 ** depth times."""
    parts = {f"a{at}": {keyword: [{"$ref": f"#/$defs/a{at + 1}"}] * 2} for at in range(depth)}
    return {"$ref": "#/$defs/a0", "$defs": {**parts, f"a{depth}": last}}


class TestValues:
    @pytest.mark.parametrize(
        ("schema", "good", "bad"),
        [
            ({"type": "integer"}, 7, "7"),
            ({"type": "integer"}, 7.0, 7.5),
            ({"type": "number"}, 7, True),
            ({"enum": ["a", 1]}, "a", "b"),
            ({"enum": [1]}, 1.0, True),
            ({"const": {"a": [1]}}, {"a": [1]}, {"a": [2]}),
            ({"items": {"$ref": "#/$defs/x"}, "$defs": {"x": {"minimum": 3}}}, [3, 4], [3, 2]),
            ({"properties": {"next": {"$ref": "#"}}, "additionalProperties": False}, {"next": {"next": {}}}, {"a": 1}),
            ({"prefixItems": [{"type": "string"}], "items": False}, ["a"], ["a", 1]),
            ({"dependentRequired": {"a": ["b"]}}, {"b": 1}, {"a": 1}),
            ({"not": {"type": "null"}}, 0, None),
            ({"pattern": "^a+$"}, "aaa", "aab"),
            ({"pattern": r"^\p{L}+$"}, "Zürich", "7"),
            ({"pattern": "^(?<year>[0-9]{4})$"}, "2026", "26"),
            ({"propertyNames": {"pattern": "^[a-z]+$"}}, {"a": 1}, {"A": 1}),
            ({"multipleOf": 0.1}, 0, 0.05),
            ({"allOf": [{"properties": {"a": {}}}], "unevaluatedProperties": False}, {"a": 1}, {"b": 1}),
            (
                {"$dynamicAnchor": "node", "properties": {"next": {"$dynamicRef": "#node"}}, "type": "object"},
                {"next": {"next": {}}},
                {"next": {"next": 7}},
            ),
            ({"definitions": {"x": {"type": "null"}}, "$ref": "#/definitions/x"}, None, 0),
            ({"$id": "https://example.com/a", "$defs": {"x": {"$anchor": "y", "type": "null"}}, "$ref": "#y"}, None, 0),
        ],
        ids=lambda value: json.dumps(value)[:60],
    )
    def test_a_value_is_as_its_schema_says_or_not(self, schema: dict[str, Any], good: object, bad: object) -> None:
        assert problem_of(good, schema) is None
        assert problem_of(bad, schema) is not None

    @pytest.mark.parametrize(
        ("items", "unique"),
        [
            ([], True),
            ([1, 2, "1", True, None, [], {}, [1], {"a": 1}], True),
            ([0, False, "", None, [], {}], True),
            ([1, 1.0], False),
            ([{"a": 1, "b": 2}, {"b": 2.0, "a": 1}], False),
            ([[1, [2]], [1, [2]]], False),
            ([[True], [1]], True),
            ([{"a": True}, {"a": 1}], True),
            ([[["a", 1]], {"a": 1}], True),
        ],
        ids=str,
    )
    def test_items_are_unique_or_not(self, items: list[Any], unique: bool) -> None:
        assert (problem_of(items, {"uniqueItems": True}) is None) is unique
        assert problem_of(items, {"uniqueItems": False}) is None

    def test_formats_are_not_looked_at(self) -> None:
        """As OpenAI's own models are not held to them: they say what is meant."""
        for name in ("email", "date-time", "uri", "regex", "idn-hostname", "nonsense"):
            assert problem_of("(", {"format": name}) is None

    def test_a_problem_says_where_it_is(self) -> None:
        schema = {"properties": {"people": {"items": {"required": ["name"]}}}}

        assert problem_of({"people": [{"name": 1}, {}]}, schema) == "at $.people[1]: 'name' is a required property"

    def test_a_problem_is_never_long(self) -> None:
        problem = problem_of(["x" * 100_000], {"items": {"enum": ["y" * 100_000]}})

        assert problem is not None
        assert len(problem) <= 300


class TestSchemas:
    @pytest.mark.parametrize(
        "schema",
        [
            {},
            {"type": "object", "description": "x", "title": "y", "default": {"$ref": 7}, "examples": [{"type": 7}]},
            {"type": ["string", "null"], "enum": ["a", None]},
            {"properties": {"type": {"type": "string"}, "pattern": {"type": "string"}, "$ref": {"type": "string"}}},
            {"$schema": "http://json-schema.org/draft-07/schema#", "$id": "x", "$comment": "", "unknown": {"type": 7}},
            {"if": {}, "then": True, "else": False, "contains": {}, "minContains": 0, "deprecated": True},
            {"pattern": "^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$"},
            {"pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}(Z|\+\d{2}:\d{2})$"},
            {"pattern": r"[^[\]{}()]{1,64}\(?x"},
        ],
        ids=lambda schema: json.dumps(schema)[:60],
    )
    def test_a_schema_is_taken(self, schema: dict[str, Any]) -> None:
        check_schema(schema)

    @pytest.mark.parametrize(
        ("schema", "place"),
        [
            ({"type": "text"}, "$.type"),
            ({"type": []}, "$.type"),
            ({"type": ["null", "null"]}, "$.type"),
            ({"properties": []}, "$.properties"),
            ({"properties": {"a": 7}}, "$.properties.a"),
            ({"items": [{}]}, "$.items"),
            ({"allOf": []}, "$.allOf"),
            ({"anyOf": {}}, "$.anyOf"),
            ({"required": "a"}, "$.required"),
            ({"required": ["a", "a"]}, "$.required"),
            ({"enum": "a"}, "$.enum"),
            ({"minLength": -1}, "$.minLength"),
            ({"maximum": "7"}, "$.maximum"),
            ({"multipleOf": 0}, "$.multipleOf"),
            ({"uniqueItems": "yes"}, "$.uniqueItems"),
            ({"$ref": 7}, "$['$ref']"),
            ({"$defs": {"a": {"not": {"type": 7}}}}, "$['$defs'].a.not.type"),
            ({"dependentRequired": {"a": "b"}}, "$.dependentRequired.a"),
            ({"pattern": "("}, "$.pattern"),
            ({"pattern": "a**"}, "$.pattern"),
            ({"pattern": 7}, "$.pattern"),
        ],
        ids=lambda value: json.dumps(value)[:60],
    )
    def test_what_is_no_schema_is_named_by_its_place(self, schema: dict[str, Any], place: str) -> None:
        with pytest.raises(BadSchema) as caught:
            check_schema(schema)

        assert f"at {place}: " in str(caught.value)

    def test_every_keyword_that_jsonschema_knows_is_checked(self) -> None:
        """The metaschema here is written by hand; a keyword of the library's that it lacks would go unchecked."""
        for keyword in jsonschema.Draft202012Validator.VALIDATORS.keys() - {"const", "format", "patternProperties"}:
            wrong: Any = 7.5 if keyword not in ("maximum", "minimum", "exclusiveMaximum", "exclusiveMinimum") else "x"
            with pytest.raises(BadSchema):
                check_schema({keyword: -wrong if keyword == "multipleOf" else wrong})

    @pytest.mark.parametrize(
        "schema",
        [
            {"patternProperties": {"^a": {}}},
            {"items": {"patternProperties": {"^a": {}}}},
            {"description": "x" * MAX_SCHEMA_CHARACTERS},
            {"description": "x" * 1_000_000},
            {"enum": list(range(200_000))},
            json.loads('{"not":' * 900 + "{}" + "}" * 900),
        ],
        ids=lambda schema: json.dumps(schema)[:40],
    )
    def test_what_would_cost_too_much_is_refused(self, schema: dict[str, Any]) -> None:
        with pytest.raises(BadSchema):
            check_schema(schema)


class TestReferences:
    @pytest.mark.parametrize(
        "reference",
        [
            "https://example.com/schema.json",
            "http://127.0.0.1:9/schema.json",
            "http://169.254.169.254/latest/meta-data/",
            "http://[",
            "file:///etc/passwd",
            "schema.json",
            "#/nowhere",
            "#nowhere",
            "#/$defs/%zz",
            "urn:uuid:0",
        ],
    )
    @pytest.mark.parametrize("keyword", ["$ref", "$dynamicRef"])
    def test_a_reference_elsewhere_is_refused_and_never_fetched(self, keyword: str, reference: str) -> None:
        forbidden = mock.Mock(side_effect=AssertionError("a socket was opened"))
        with (
            mock.patch.object(socket, "socket", forbidden),
            mock.patch.object(socket, "create_connection", forbidden),
            mock.patch("urllib.request.urlopen", forbidden),
            mock.patch("builtins.open", forbidden),
            pytest.raises(BadSchema, match=r"leads nowhere|cannot be checked"),
        ):
            problem_of({"a": 1}, {keyword: reference, "$id": "http://127.0.0.1:9/"})

        assert forbidden.call_count == 0

    @pytest.mark.parametrize(
        "schema",
        [
            {"title": "x", "$ref": "#/title"},
            {"title": "x", "$ref": "#/title/0"},
            {"enum": [1], "$ref": "#/enum"},
            {"enum": [1], "$ref": "#/enum/0"},
            {"allOf": [{}], "$ref": "#/allOf/one"},
            {"default": None, "$ref": "#/default"},
            {"default": {"items": 7}, "$ref": "#/default"},
            {"default": {"required": 7}, "$ref": "#/default"},
            {"default": {"minimum": "x"}, "$ref": "#/default"},
            {"default": {"pattern": "("}, "$ref": "#/default"},
            {"default": {"$ref": 7}, "$ref": "#/default"},
        ],
        ids=lambda schema: json.dumps(schema)[:60],
    )
    def test_a_reference_to_what_is_no_schema_is_refused(self, schema: dict[str, Any]) -> None:
        values: list[object] = [1, "x", [1], {}]
        with pytest.raises(BadSchema):
            [problem_of(value, schema) for value in values]

    @pytest.mark.parametrize(
        "schema",
        [
            {"$ref": "#"},
            {"$dynamicAnchor": "a", "$dynamicRef": "#a"},
            {"$ref": "#", "unevaluatedProperties": False},
            {"allOf": [{"$ref": "#"}, {"$ref": "#"}]},
            doubling("allOf", {"type": "object"}),
            doubling("anyOf", {"type": "string"}),
            doubling("oneOf", {"type": "object"}),
            doubling("allOf", {"type": "object"}) | {"unevaluatedProperties": False},
        ],
        ids=lambda schema: json.dumps(schema)[:60],
    )
    def test_references_without_end_are_given_up(self, schema: dict[str, Any]) -> None:
        started_at = time.thread_time()
        with pytest.raises(BadSchema):
            problem_of({"a": 1}, schema)

        assert time.thread_time() - started_at < BOUND_S


class TestTime:
    @pytest.mark.parametrize(
        ("schema", "value"),
        [
            ({"pattern": "^(([a-z])+.)+[A-Z]([a-z])+$"}, "a" * 5_000),
            ({"pattern": "(x+x+)+y"}, "x" * 5_000),
            ({"items": {"anyOf": [{"pattern": "(x+x+)+y"}, {"pattern": "(x+x+)+z"}]}}, ["x" * 5_000] * 100),
            ({"pattern": "(?R)"}, "x" * 100),
            ({"items": {"anyOf": [{"const": at} for at in range(5_000)]}}, [-1] * 100_000),
            ({"items": {"anyOf": [{"const": at} for at in range(5_000)] + [True]}}, [-1] * 100_000),
            ({"uniqueItems": True}, [{"a": at} for at in range(50_000)]),
            ({"uniqueItems": True}, [at * (2**61 - 1) for at in range(25_000)]),
            ({"contains": {"enum": [[at] for at in range(10_000)]}}, [[-1]] * 100_000),
            ({"additionalProperties": {"enum": list(range(10_000))}}, {str(at): 9_999 for at in range(50_000)}),
        ],
        ids=lambda value: json.dumps(value)[:50],
    )
    def test_no_check_takes_long(self, schema: dict[str, Any], value: object) -> None:
        """A caller chooses the schema and, with a bot that repeats what it is told, the answer too."""
        started_at = time.thread_time()
        try:
            problem_of(value, schema)
        except BadSchema as error:
            assert "too long" in str(error)  # noqa: PT017 - both outcomes are fine

        assert time.thread_time() - started_at < BOUND_S

    @pytest.mark.parametrize(
        "schema",
        [
            {"anyOf": [{}] * 30_000},
            {"properties": {f"a{at}": {"type": "string", "description": "x"} for at in range(2_500)}},
            {"required": [f"a{at}" for at in range(12_000)]},
            {"allOf": [{"pattern": "(a|b)*" * at} for at in range(1, 150)]},
        ],
        ids=lambda value: json.dumps(value)[:50],
    )
    def test_no_schema_takes_long_to_check(self, schema: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
        """That happens in a worker's event loop; the metaschema in eight parts took 5 s for the first of these."""
        monkeypatch.undo()
        started_at = time.thread_time()
        check_schema(schema)

        assert time.thread_time() - started_at < BOUND_S

    def test_a_pattern_that_takes_gigabytes_to_compile_is_refused(self) -> None:
        """``regex`` writes fixed repetitions out. Tried in a process with little memory, and no time to waste."""
        program = (
            "import json, resource, sys; from proxy.answer.json_schema import *\n"
            "resource.setrlimit(resource.RLIMIT_AS, (2**29, 2**29))\n"
            "for pattern in json.loads(sys.argv[1]):\n"
            "    for schema in ({'pattern': pattern}, {'default': {'pattern': pattern}, '$ref': '#/default'}):\n"
            "        try: problem_of('a', schema); print(pattern)\n"
            "        except BadSchema: pass\n"
        )
        command = [sys.executable, "-c", program, json.dumps(GIGABYTES)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=ROOT)

        assert (ran.stdout, ran.stderr, ran.returncode) == ("", "", 0)


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (10**400, {"multipleOf": 0.5}),
        (float("inf"), {"multipleOf": 0.5}),
        (1e308, {"multipleOf": 1e-300}),
        (10**400, {"maximum": 1.5}),
        ("x" * 1_000_000, {"minLength": 2, "pattern": "x$"}),
        (json.loads("[" * 900 + "]" * 900), {"items": {"$ref": "#"}}),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_a_value_beyond_all_sense_is_decided_or_given_up(value: object, schema: dict[str, Any]) -> None:
    outcome: str | None = None
    try:
        outcome = problem_of(value, schema)
    except BadSchema as error:
        outcome = str(error)

    assert outcome is None or outcome


_WORDS = st.sampled_from(
    [*jsonschema.Draft202012Validator.VALIDATORS, "$defs", "$id", "$anchor", "a", "string", "object", "#", "#/$defs/a"]
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | _WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_WORDS, inner, max_size=4),
    max_leaves=15,
)


@given(schema=st.dictionaries(_WORDS, _JSON, max_size=5), value=_JSON)
def test_any_schema_decides_on_any_value_or_is_bad(schema: dict[str, Any], value: object) -> None:
    outcome: str | None = None
    try:
        outcome = problem_of(value, schema)
    except BadSchema as error:
        outcome = str(error)

    assert outcome is None or outcome.encode()


@pytest.mark.parametrize(
    "value", ["x" * 98, {"x" * 50: "y" * 44}, ["x" * 44, "y" * 44], [1] * 98, [[[]], {}, {"a": {}}] * 8, 7, None]
)
def test_a_value_is_measured_without_being_written(value: Any) -> None:
    """What is called longer is longer; nothing is written in one piece to know it."""
    assert not is_longer_than(value, 100)
    assert is_longer_than([value, "x" * 98], 100)
    assert not is_longer_than(value, len(json.dumps(value)))


def test_a_schema_of_many_megabytes_is_refused_unwritten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json, "dumps", None)

    with pytest.raises(BadSchema, match="more than 131072 characters"):
        check_schema({"enum": ["x" * 100_000] * 50})
