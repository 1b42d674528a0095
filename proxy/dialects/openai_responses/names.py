"""The tools of a client behind the names that the model has for them. Pure.

The functions of a ``namespace`` get its name before theirs.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from proxy.core.tool_names import fitting_name

Kind = Literal["function", "custom", "tool_search"]


class ToolName(NamedTuple):
    """A tool as the client knows it; ``namespace`` is "" when it stands in none."""

    kind: Kind
    name: str
    namespace: str = ""


#: The name that the model gets → the tool.
ToolNames = Mapping[str, ToolName]


def model_name(name: str, namespace: str = "") -> str:
    """The name by which the model gets a tool."""
    return fitting_name(f"{namespace}__{name}" if namespace else name)
