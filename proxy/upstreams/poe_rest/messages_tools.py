"""The tools of a request as Anthropic takes them, and what the caller wants of them. Pure.

A custom tool is a function with one text. Of tools that the upstream runs, Anthropic's own go as the client wrote them,
and others are left out: agents offer them with every request.
"""

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Final, NamedTuple

from proxy.core.chat_request import ChatRequest, ChosenTool, CustomTool, FunctionTool, HostedTool, Tool
from proxy.core.custom_tools import PARAMETERS, as_description
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.core.tool_names import fitting_name
from proxy.upstreams.poe.functions import full_parameters
from proxy.upstreams.poe_rest.messages_blocks import Block, caching

#: The type of a tool of Anthropic's has its version, such as ``web_search_20250305``.
_ANTHROPICS: Final = re.compile(r"[a-z_]+_20\d{6}")
_OBJECT: Final = {"type": "object"}
_NONE: Final[Block] = {"type": "none"}


class Offer(NamedTuple):
    """The tools that the model gets, and what it must do with them; None leaves that to it."""

    tools: list[Block]
    choice: Block | None

    @property
    def is_forced(self) -> bool:
        """Whether the answer has to be a call."""
        return self.choice is not None and self.choice["type"] in ("any", "tool")


def build_offer(request: ChatRequest, called: Collection[str] = ()) -> Offer:
    """What the request offers. Anthropic wants tools where there are calls, so else it is those that were ``called``.

    Raises:
        UnsupportedFeature: the model must call a tool that Anthropic does not have.
        InvalidRequest: the tool that must be called is not offered.
    """
    tools: dict[str, Block] = {}
    for tool in request.tools:
        for definition in _definitions(tool):
            tools.setdefault(definition["name"], definition)
    if tools or _is_demanded(request):
        return Offer(list(tools.values()), _choice(request, tools))
    if called:
        return Offer([definition for name in called for definition in _definitions(FunctionTool(name, ""))], _NONE)
    return Offer([], None)


def _definitions(tool: Tool) -> Iterator[Block]:
    match tool:
        case FunctionTool():
            yield _definition(tool, tool.description, full_parameters(tool) | _OBJECT) | caching(tool.cache)
        case CustomTool():
            yield _definition(tool, as_description(tool.description or "", tool.format or {}), dict(PARAMETERS))
        case HostedTool():
            if _name_at_anthropic(tool):
                yield dict(tool.definition)


def _definition(tool: FunctionTool | CustomTool, description: str | None, schema: dict[str, Any]) -> Block:
    about = {"description": description} if description else {}
    return {"name": fitting_name(tool.name), **about, "input_schema": schema}


def _name_at_anthropic(tool: HostedTool) -> str:
    """The name of a tool that Anthropic has, or ""."""
    kind, name = tool.definition.get("type"), tool.definition.get("name")
    is_anthropics = isinstance(kind, str) and _ANTHROPICS.fullmatch(kind)
    return name if is_anthropics and isinstance(name, str) else ""


def _is_demanded(request: ChatRequest) -> bool:
    return request.tool_choice == "required" or isinstance(request.tool_choice, ChosenTool)


def _choice(request: ChatRequest, tools: Collection[str]) -> Block | None:
    wanted = request.tool_choice
    if wanted == "none":
        return _NONE
    choice: Block = {"type": "auto"}
    if isinstance(wanted, ChosenTool):
        choice = {"type": "tool", "name": _chosen_name(wanted, request.tools, tools)}
    elif wanted == "required":
        if not tools:
            raise _nothing_to_call(request.tools)
        choice = {"type": "any"}
    if not request.parallel_tool_calls:
        choice["disable_parallel_tool_use"] = True
    return None if choice == {"type": "auto"} else choice


def _chosen_name(chosen: ChosenTool, tools: Sequence[Tool], offered: Collection[str]) -> str:
    if chosen.type in ("function", "custom"):
        name = fitting_name(chosen.name)
        if name not in offered:
            raise InvalidRequest("Invalid value for 'tool_choice': no such tool in 'tools'.", param="tool_choice")
        return name
    hosted = [tool for tool in tools if isinstance(tool, HostedTool) and tool.type == chosen.type]
    names = list(filter(None, map(_name_at_anthropic, hosted)))
    if not names:
        raise _unsupported(chosen.type)
    return names[0]


def _nothing_to_call(tools: Sequence[Tool]) -> InvalidRequest:
    hosted = next((tool for tool in tools if isinstance(tool, HostedTool)), None)
    if hosted is not None:
        return _unsupported(hosted.type)
    return InvalidRequest("'tool_choice' is only allowed when 'tools' are specified.", param="tool_choice")


def _unsupported(kind: str) -> UnsupportedFeature:
    return UnsupportedFeature(f"This model has no tool of type '{kind[:40]}'.", param="tool_choice")
