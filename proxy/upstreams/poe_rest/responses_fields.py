"""Fields of a response's JSON as what they should be. What makes no sense raises PoeFailed. Pure."""

from typing import Any

from proxy.core.failures import PoeFailed

Said = dict[str, Any]


def object_in(value: object) -> Said:
    """The value, which is an object."""
    if isinstance(value, dict):
        return value
    raise PoeFailed(said="something that is no object where one belongs")


def list_in(value: object) -> list[Any]:
    """The value, which is a list; null is an empty one."""
    if value is None or isinstance(value, list):
        return value or []
    raise PoeFailed(said="something that is no list where one belongs")


def text_in(value: object) -> str:
    """The value, which is a text; null is an empty one."""
    if value is None or isinstance(value, str):
        return value or ""
    raise PoeFailed(said="something that is no text where one belongs")


def index_in(value: object) -> int:
    """A place in a list; where none is stated it is the first."""
    return value if type(value) is int else 0


def type_of(said: Said) -> str:
    """The type of an item or a part, or ""."""
    kind = said.get("type")
    return kind if isinstance(kind, str) else ""


def ids_in(*values: object) -> list[str]:
    """Those of the values that are ids."""
    return [value for value in values if isinstance(value, str) and value]
