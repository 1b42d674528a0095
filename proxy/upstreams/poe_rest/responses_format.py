"""The form of an answer's text as Poe's Responses API has it: how long, and which JSON. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from proxy.core.chat_request import JsonAnswer, Options
from proxy.core.tool_names import fitting_name

#: What a schema may have that is enforced strictly. https://platform.openai.com/docs/guides/structured-outputs
_STRICT_WORDS: Final = frozenset(
    {
        *("$schema", "title", "description", "$defs", "definitions", "$ref", "anyOf", "type", "enum", "const"),
        *("properties", "required", "additionalProperties", "items", "minItems", "maxItems", "format", "pattern"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    }
)
#: Of these a schema must have one, since a value of any kind cannot be enforced.
_KIND_WORDS: Final = ("type", "anyOf", "$ref", "enum", "const")
_UNNAMED: Final = "answer"


def build_text_options(options: Options) -> dict[str, Any]:
    """The field that is about the text; none where nothing is asked for."""
    text: dict[str, Any] = {}
    if options.json_answer is not None:
        text["format"] = _format(options.json_answer)
    if isinstance(verbosity := options.more.get("verbosity"), str):
        text["verbosity"] = verbosity
    return {"text": text} if text else {}


def _format(wanted: JsonAnswer) -> dict[str, Any]:
    if wanted.schema is None:
        return {"type": "json_object"}
    about = {"description": wanted.description} if wanted.description else {}
    return {
        "type": "json_schema",
        "name": fitting_name(wanted.name or _UNNAMED),
        **about,
        "schema": wanted.schema,
        "strict": _may_be_strict(wanted.schema),
    }


def _may_be_strict(schema: Mapping[str, Any]) -> bool:
    """Whether it can be enforced: an object in which every object must have all of its properties, and no others."""
    return schema.get("type") == "object" and all(map(_is_strict, _schemas_in(schema)))


def _is_strict(schema: object) -> bool:
    if not isinstance(schema, Mapping) or not schema.keys() <= _STRICT_WORDS:
        return False
    if not any(word in schema for word in _KIND_WORDS):
        return False
    kind, properties = schema.get("type"), schema.get("properties")
    if "object" not in (kind if isinstance(kind, list) else [kind]) and properties is None:
        return True
    return schema.get("additionalProperties") is False and _are_required(properties, schema.get("required"))


def _are_required(properties: object, required: object) -> bool:
    """Whether all properties are required."""
    if not isinstance(properties, Mapping) or not isinstance(required, list):
        return False
    return properties.keys() <= {name for name in required if isinstance(name, str)}


def _schemas_in(schema: object) -> Iterator[object]:
    """The schema and all that are in it."""
    waiting = [schema]
    while waiting:
        yield (inner := waiting.pop())
        if isinstance(inner, Mapping):
            waiting += _inner(inner)


def _inner(schema: Mapping[str, Any]) -> Iterator[object]:
    for word in ("properties", "$defs", "definitions"):
        if isinstance(named := schema.get(word), Mapping):
            yield from named.values()
    if isinstance(options := schema.get("anyOf"), list):
        yield from options
    if "items" in schema:
        yield schema["items"]
