"""The tools of a request as functions, which every upstream has, and what they stand for. Pure.

A custom tool becomes a function with one text, and its description has the grammar; ``tool_search``, which the client
runs, becomes a function of that name. Hosted search is left out: Codex sends it with every request.
"""

from collections.abc import Mapping
from typing import Any, Final

from proxy.core.chat_request import ChosenTool, FunctionTool
from proxy.core.chat_request import ToolChoice as Choice
from proxy.core.custom_tools import PARAMETERS, as_description
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.bodies.validation import needed
from proxy.dialects.openai_responses.names import Kind, ToolName, model_name
from proxy.dialects.openai_responses.request import Mode, Tool, ToolChoice, ToolInNamespace, ToolReference

#: How the types of tools begin that no bot has and every agent can do without.
LEFT_OUT: Final = ("web_search",)
_SEARCH: Final = "tool_search"
_KINDS: Final[dict[str, Kind]] = {"function": "function", "custom": "custom", _SEARCH: _SEARCH}


class ToolSet:
    """All tools of one request.

    Attributes:
        functions: what the model gets.
        names: the functions' names → the tools.
    """

    def __init__(self) -> None:
        self.functions: list[FunctionTool] = []
        self.names: dict[str, ToolName] = {}
        self._left_out = ""

    def add(self, tool: Tool, path: str) -> None:
        """Takes in a tool, or all of a namespace; one that is there already is not taken in again.

        Raises:
            InvalidRequest: it lacks its name, or has one that another tool has.
            UnsupportedFeature: it is a hosted tool that matters.
        """
        kind = tool["type"]
        if kind == "namespace":
            self._add_namespace(tool, path)
        elif kind == _SEARCH:
            self._add_search(tool, path)
        elif kind.startswith(LEFT_OUT):
            self._left_out = kind
        else:
            self._add_one(tool, path)

    def choice(self, wanted: Mode | ToolChoice | None) -> Choice:
        """What the model must do. Of ``allowed_tools`` the others are taken out.

        Raises:
            InvalidRequest: there is no such tool.
            UnsupportedFeature: it is a hosted one.
        """
        if wanted is None or isinstance(wanted, str):
            return self._plain_choice(wanted)
        if wanted["type"] != "allowed_tools":
            return ChosenTool("function", self._find(wanted, "tool_choice"))
        allowed = {self._find(one, f"tool_choice.tools[{at}]") for at, one in enumerate(wanted.get("tools") or ())}
        self.functions = [function for function in self.functions if function.name in allowed]
        return wanted.get("mode") or "auto"

    def _plain_choice(self, wanted: Mode | None) -> Choice:
        if wanted == "required" and self._left_out and not self.functions:
            raise _not_here(self._left_out)
        return wanted or "auto"

    def _add_namespace(self, tool: Tool, path: str) -> None:
        namespace = needed(tool.get("name"), f"{path}.name")
        about = tool.get("description")
        for at, inner in enumerate(needed(tool.get("tools"), f"{path}.tools")):
            self._add_one(inner, f"{path}.tools[{at}]", namespace, about if at == 0 else None)

    def _add_one(self, tool: ToolInNamespace, path: str, namespace: str = "", about: str | None = None) -> None:
        kind = tool["type"]
        if kind not in ("function", "custom"):
            raise UnsupportedFeature(f"Tools of type '{kind[:40]}' are not supported.", param=f"{path}.type")
        name = needed(tool.get("name"), f"{path}.name")
        description = tool.get("description") or ""
        if about:
            description += f"\n\nAll tools that begin with {namespace}: {about}"
        parameters: Mapping[str, Any] | None = tool.get("parameters")
        if kind == "custom":
            description, parameters = as_description(description, tool.get("format") or {}), PARAMETERS
        more = {} if tool.get("strict") is None else {"strict": tool["strict"]}
        self._add_function(ToolName(_KINDS[kind], name, namespace), path, description, parameters, more)

    def _add_search(self, tool: Tool, path: str) -> None:
        """Where the server would have to search, the model gets all tools at once instead."""
        if tool.get("execution") == "client":
            name = ToolName(_SEARCH, _SEARCH)
            self._add_function(name, path, tool.get("description") or "", tool.get("parameters"), {})

    def _add_function(
        self, tool: ToolName, path: str, description: str, parameters: Mapping[str, Any] | None, more: dict[str, Any]
    ) -> None:
        name = model_name(tool.name, tool.namespace)
        if name not in self.names:
            self.names[name] = tool
            self.functions.append(FunctionTool(name, path, description.strip() or None, parameters, more))
        elif self.names[name] != tool:
            raise InvalidRequest(f"Invalid value for '{path}.name': another tool has it.", param=f"{path}.name")

    def _find(self, wanted: ToolReference, path: str) -> str:
        kind, namespace = wanted["type"], wanted.get("namespace")
        if kind not in _KINDS:
            raise _not_here(kind)
        name = _SEARCH if kind == _SEARCH else needed(wanted.get("name"), f"{path}.name")
        for called, tool in self.names.items():
            if (tool.kind, tool.name) == (kind, name) and namespace in (None, tool.namespace):
                return called
        raise InvalidRequest(f"Invalid value for '{path}': no such tool in 'tools'.", param=path)


def _not_here(kind: str) -> UnsupportedFeature:
    return UnsupportedFeature(
        f"The tool '{kind[:40]}' is not supported by this model; leave it to the model's choice, or name a function.",
        param="tool_choice",
    )
