"""Tools of a request as Poe's chat has them, and what the model must do with them. Pure.

Chat has functions only: tools that take free text become some, and tools that a vendor runs are left out, unless the
model must call one of them.
"""

from typing import Any

from proxy.core.chat_request import ChatRequest, ChosenTool, CustomTool, FunctionTool, HostedTool
from proxy.core.custom_tools import PARAMETERS, as_description
from proxy.core.failures import UnsupportedFeature
from proxy.core.tool_names import fitting_name
from proxy.upstreams.poe.functions import check_choice, full_parameters


def build_tools(request: ChatRequest) -> dict[str, Any]:
    """The fields that are about tools; none where there are no tools.

    Raises:
        UnsupportedFeature: a tool must be called that a vendor would run.
        InvalidRequest: a tool must be called that there is not.
    """
    _refuse_hosted(request)
    tools = [tool for tool in request.tools if not isinstance(tool, HostedTool)]
    choice = (
        _as_function(request.tool_choice, tools) if isinstance(request.tool_choice, ChosenTool) else request.tool_choice
    )
    check_choice(choice, [tool.name for tool in tools])
    if not tools:
        return {}
    fields: dict[str, Any] = {"tools": [{"type": "function", "function": _function(tool)} for tool in tools]}
    if isinstance(choice, ChosenTool):
        fields["tool_choice"] = {"type": "function", "function": {"name": fitting_name(choice.name)}}
    elif choice != "auto":
        fields["tool_choice"] = choice
    return fields if request.parallel_tool_calls else {**fields, "parallel_tool_calls": False}


def _refuse_hosted(request: ChatRequest) -> None:
    hosted = [tool for tool in request.tools if isinstance(tool, HostedTool)]
    choice = request.tool_choice
    if isinstance(choice, ChosenTool):
        forced = [] if choice.type in ("function", "custom") else [choice.type]
    else:
        forced = [tool.type for tool in hosted] if choice == "required" and len(hosted) == len(request.tools) else []
    if forced:
        param = hosted[0].path if hosted else "tool_choice"
        raise UnsupportedFeature(f"Tools of type '{forced[0][:40]}' are not supported.", param=param)


def _as_function(choice: ChosenTool, tools: list[FunctionTool | CustomTool]) -> ChosenTool:
    """A choice of a tool that takes free text may leave out its name."""
    custom = [tool.name for tool in tools if isinstance(tool, CustomTool)] if choice.type == "custom" else []
    return ChosenTool("function", choice.name or "".join(custom[:1]))


def _function(tool: FunctionTool | CustomTool) -> dict[str, Any]:
    if isinstance(tool, CustomTool):
        description, parameters = as_description(tool.description or "", tool.format or {}), dict(PARAMETERS)
    else:
        description, parameters = tool.description or "", full_parameters(tool)
    function: dict[str, Any] = {
        "name": fitting_name(tool.name),
        "description": description,
        "parameters": parameters,
    }
    if isinstance(tool, FunctionTool) and tool.more.get("strict") is True:
        function["strict"] = True
    return {name: value for name, value in function.items() if value != ""}
