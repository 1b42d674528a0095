"""The tools that a request offers, in core's terms. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar, cast

from proxy.core.chat_request import ChosenTool, FunctionTool, HostedTool, Tool, ToolChoice
from proxy.core.failures import InvalidRequest
from proxy.core.tool_names import fitting_name, replaced_names
from proxy.dialects.anthropic_messages import request as wire
from proxy.dialects.anthropic_messages.blocks import ToolChangeBlock
from proxy.dialects.anthropic_messages.caching import cache_time
from proxy.dialects.anthropic_messages.client_tools import definition_of

_Value = TypeVar("_Value")

#: Anthropic's own searches for tools. No one else has them, so every tool is offered instead.
_SEARCH: Final = "tool_search_tool_"
#: What the types of Anthropic's hosted tools are called here, without their dates.
_HOSTED: Final = ("web_search", "web_fetch", "code_execution")


@dataclass(slots=True)
class ToolChanges:
    """How the conversation changed the tools that are offered.

    Attributes:
        found: names of deferred tools that the conversation refers to.
        gone: names of tools that were taken away.
        added: definitions that were added.
    """

    found: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)
    added: list[tuple[wire.Tool, str]] = field(default_factory=list)

    def note(self, block: ToolChangeBlock, path: str) -> None:
        """A message adds or removes a tool."""
        tool = block["tool"]
        if block["type"] == "tool_removal":
            self.gone.add(tool.get("name") or "")
        elif definition := tool.get("definition"):
            self.added.append((cast("wire.Tool", definition), f"{path}.{block['type']}.tool.definition"))
        else:
            name = tool.get("name") or ""
            self.found.add(name)
            self.gone.discard(name)


def read_tools(tools: Sequence[wire.Tool], changes: ToolChanges) -> list[Tool]:
    """The tools that the model may call now.

    A deferred tool is offered once the conversation refers to it; or at once, when only Anthropic's models could search
    for it.

    Raises:
        InvalidRequest: a tool has no name or no schema.
    """
    listed = [*((tool, f"tools.{at}") for at, tool in enumerate(tools)), *changes.added]
    may_search = not any((tool.get("type") or "").startswith(_SEARCH) for tool, _ in listed)
    return [
        _tool(tool, path)
        for tool, path in listed
        if not (tool.get("type") or "").startswith(_SEARCH)
        and tool.get("name") not in changes.gone
        and not (may_search and tool.get("defer_loading") and tool.get("name") not in changes.found)
    ]


def replaced_tool_names(tools: Sequence[wire.Tool], changes: ToolChanges) -> dict[str, str]:
    """The names that the model gets in place of those that do not fit → those."""
    return replaced_names(tool.get("name") or "" for tool in (*tools, *(tool for tool, _ in changes.added)))


def read_choice(choice: wire.ToolChoice | None, tools: Iterable[Tool]) -> ToolChoice:
    """Whether the model must call a tool, and which. Raises InvalidRequest: it is to call one without a name."""
    if choice is None or choice["type"] == "auto":
        return "auto"
    if choice["type"] == "none":
        return "none"
    if choice["type"] == "any":
        return "required"
    name = _needed(choice.get("name"), "tool_choice.tool.name")
    hosted = next((tool for tool in tools if isinstance(tool, HostedTool) and _name(tool) == name), None)
    return ChosenTool(hosted.type, name) if hosted else ChosenTool("function", fitting_name(name))


def _tool(tool: wire.Tool, path: str) -> Tool:
    kind = tool.get("type") or "custom"
    known = definition_of(kind)
    if kind != "custom" and known is None:
        hosted = kind.rpartition("_")[0]
        return HostedTool(hosted if hosted in _HOSTED else kind, f"{path}.type", cast("Mapping[str, Any]", tool))
    name = fitting_name(_needed(tool.get("name"), f"{path}.name"))
    cache = cache_time(tool)
    if known is not None:
        return FunctionTool(name, path, known.description, known.parameters, cache=cache)
    schema = _needed(tool.get("input_schema"), f"{path}.input_schema")
    more = {"strict": True} if tool.get("strict") else {}
    return FunctionTool(name, path, tool.get("description"), cast("Mapping[str, Any]", schema), more, cache)


def _name(tool: HostedTool) -> object:
    return tool.definition.get("name")


def _needed(value: _Value | None, path: str) -> _Value:
    if value is None:
        raise InvalidRequest(f"{path}: Field required", param=path)
    return value
