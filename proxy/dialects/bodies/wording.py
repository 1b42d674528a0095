"""How the vendors name a field, and say what is wrong with it. Pure."""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

#: Names and places on the way to a field.
Steps = Sequence[int | str]


class Wording(NamedTuple):
    """One vendor's words.

    Attributes:
        path: writes the place of a field.
        missing: is said of a field that is not there.
        invalid: is said of any other fault.
    """

    path: Callable[[Steps], str]
    missing: str
    invalid: str


def _with_brackets(steps: Steps) -> str:
    return "".join([f"[{step}]" if isinstance(step, int) else f".{step}" for step in steps]).removeprefix(".")


def _with_dots(steps: Steps) -> str:
    return ".".join(map(str, steps))


#: ``Missing required parameter: 'messages[2].role'.``
OPENAIS: Final = Wording(
    _with_brackets, "Missing required parameter: '{param}'.", "Invalid value for '{param}': {words}."
)
#: ``messages.2.role: Field required``
ANTHROPICS: Final = Wording(_with_dots, "{param}: Field required", "{param}: {words}")
