"""Instructions in the middle of a conversation, for models that read a system's at its beginning alone. Pure."""

from collections.abc import Sequence
from typing import TypeVar

from proxy.core.chat_request import Part, Text

_Part = TypeVar("_Part", bound=Part)


def as_reminder(parts: Sequence[_Part]) -> list[_Part | Text]:
    """A message of the system as one of the user, marked as a reminder: Claude knows the mark."""
    return [Text("<system-reminder>"), *parts, Text("</system-reminder>")]
