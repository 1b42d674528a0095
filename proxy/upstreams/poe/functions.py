"""Functions that a model may call, as all of Poe's APIs want them. Pure."""

from typing import Any

from proxy.core.chat_request import FunctionTool


def full_parameters(tool: FunctionTool) -> dict[str, Any]:
    """The schema of a function's arguments, with the type and the properties that clients may leave out."""
    stated = {name: value for name, value in (tool.parameters or {}).items() if value is not None}
    return {"type": "object", "properties": {}, **stated}
