"""Tools of a request as Poe's Responses API has them, and what the model must do with them. Pure."""

import re
from collections.abc import Sequence
from typing import Any, Final

from proxy.core.chat_request import ChatRequest, ChosenTool, CustomTool, FunctionTool, HostedTool, Tool
from proxy.core.custom_tools import PARAMETERS, as_description
from proxy.core.tool_names import fitting_name
from proxy.upstreams.poe.functions import full_parameters

#: The search of Anthropic's API, whose types have a date, and that of Poe's.
_DATED_SEARCH: Final = re.compile(r"web_search_\d{8}")
_SEARCH: Final = "web_search_preview"


def build_tools(request: ChatRequest) -> dict[str, Any]:
    """The fields that are about tools; none where there are no tools."""
    if not request.tools:
        return {}
    fields: dict[str, Any] = {"tools": [_definition(tool) for tool in request.tools]}
    if request.tool_choice != "auto":
        choice = request.tool_choice
        fields["tool_choice"] = _chosen(choice, request.tools) if isinstance(choice, ChosenTool) else choice
    if not request.parallel_tool_calls:
        fields["parallel_tool_calls"] = False
    return fields


def _definition(tool: Tool) -> dict[str, Any]:
    match tool:
        case FunctionTool():
            # What is not said to be strict is made strict, and then must have all of its parameters.
            is_strict = tool.more.get("strict") is True
            return _function(tool.name, tool.description, full_parameters(tool), is_strict=is_strict)
        case CustomTool():
            description = as_description(tool.description or "", tool.format or {})
            return _function(tool.name, description, dict(PARAMETERS), is_strict=True)
        case HostedTool():
            return _hosted(tool)


def _function(name: str, description: str | None, parameters: dict[str, Any], *, is_strict: bool) -> dict[str, Any]:
    about = {} if description is None else {"description": description}
    return {"type": "function", "name": fitting_name(name), **about, "parameters": parameters, "strict": is_strict}


def _hosted(tool: HostedTool) -> dict[str, Any]:
    """The definition as the client wrote it, but for Anthropic's search: the same thing has another form here."""
    definition = dict(tool.definition)
    if not _DATED_SEARCH.fullmatch(_type_of(tool)):
        return definition
    place = definition.get("user_location")
    return {"type": _SEARCH, **({"user_location": place} if place else {})}


def _type_of(tool: HostedTool) -> str:
    return str(tool.definition.get("type") or tool.type)


def _chosen(choice: ChosenTool, tools: Sequence[Tool]) -> dict[str, Any]:
    if choice.type == "function":
        return {"type": "function", "name": fitting_name(choice.name)}
    if choice.type == "custom":
        named = choice.name or next((tool.name for tool in tools if isinstance(tool, CustomTool)), "")
        return {"type": "function", "name": fitting_name(named)}
    kinds = [_hosted(tool)["type"] for tool in tools if isinstance(tool, HostedTool) and tool.type == choice.type]
    return {"type": kinds[0] if kinds else choice.type}
