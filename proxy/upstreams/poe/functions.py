"""Functions that a model may call, as all of Poe's APIs want them. Pure."""

from collections.abc import Collection
from typing import Any

from proxy.core.chat_request import ChatRequest, ChosenTool, FunctionTool, HostedTool, ToolChoice
from proxy.core.failures import InvalidRequest
from proxy.core.tool_names import replaced_names


def full_parameters(tool: FunctionTool) -> dict[str, Any]:
    """The schema of a function's arguments, with the type and the properties that clients may leave out."""
    stated = {name: value for name, value in (tool.parameters or {}).items() if value is not None}
    return {"type": "object", "properties": {}, **stated}


def names_to_restore(request: ChatRequest) -> dict[str, str]:
    """The names by which the model knows tools whose own do not fit → those, for the decoder to restore."""
    return replaced_names(tool.name for tool in request.tools if not isinstance(tool, HostedTool))


def check_choice(choice: ToolChoice, names: Collection[str]) -> None:
    """Raises InvalidRequest: a call is demanded that none of the functions with these ``names`` allows."""
    if choice == "required" and not names:
        raise InvalidRequest("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")
    if isinstance(choice, ChosenTool) and choice.name not in names:
        raise InvalidRequest("Invalid value for 'tool_choice': no such function in 'tools'.", param="tool_choice")
