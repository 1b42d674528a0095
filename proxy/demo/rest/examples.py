"""Examples of JSON Schemas: what models call tools with, and answer when a form is asked for."""

from collections.abc import Mapping
from typing import Any, Final

_MAX_DEPTH: Final = 8
_PLAIN: Final[dict[str, Any]] = {"integer": 1, "number": 1.5, "boolean": True, "null": None}


def example_of(schema: Mapping[str, Any], name: str = "value") -> Any:
    """A value that fits a plain schema; a text is called after its property, ``name``."""
    return _example(schema, name, schema, 0)


def _example(schema: Any, name: str, root: Mapping[str, Any], depth: int) -> Any:
    if not isinstance(schema, Mapping) or depth > _MAX_DEPTH:
        return None
    if "$ref" in schema:
        return _example(_resolved(str(schema["$ref"]), root), name, root, depth + 1)
    for word in ("const", "default"):
        if word in schema:
            return schema[word]
    if schema.get("enum"):
        return schema["enum"][0]
    for word in ("anyOf", "oneOf", "allOf"):
        if schema.get(word):
            return _example(schema[word][0], name, root, depth + 1)
    return _of_kind(schema, name, root, depth)


def _of_kind(schema: Mapping[str, Any], name: str, root: Mapping[str, Any], depth: int) -> Any:
    kinds = schema.get("type", "object" if "properties" in schema else "string")
    kind = kinds[0] if isinstance(kinds, list) else kinds
    if kind == "object":
        properties = schema.get("properties") or {}
        wanted = schema.get("required") or list(properties)
        return {one: _example(properties.get(one, {}), one, root, depth + 1) for one in wanted}
    if kind == "array":
        return [_example(schema.get("items", {}), name, root, depth + 1)]
    if kind in ("integer", "number"):
        return schema.get("minimum", _PLAIN[kind])
    return _PLAIN.get(kind, name)


def _resolved(reference: str, root: Mapping[str, Any]) -> Any:
    """What a reference within the schema points to."""
    found: Any = root
    for step in reference.removeprefix("#").split("/")[1:]:
        found = found.get(step) if isinstance(found, Mapping) else None
    return found
