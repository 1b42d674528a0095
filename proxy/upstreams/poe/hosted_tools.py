"""Tools that the upstream itself would run: a bot has none, but some search the web when a parameter says so. Pure."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from proxy.core.chat_request import ChatRequest, ChosenTool, HostedTool
from proxy.upstreams.poe_account.models import Schemas

#: The tool, and the parameter.
_SEARCH: Final = "web_search"


def without_search(request: ChatRequest, schemas: Schemas) -> ChatRequest:
    """The same request without the tool that searches the web, where the bot or the model can do without it.

    A bot with a parameter for it searches by itself. Others go on with the tools of the client: agents offer a search
    with every request. A request that is for a search alone keeps the tool, and is refused.
    """
    searches = [tool for tool in request.tools if isinstance(tool, HostedTool) and tool.type == _SEARCH]
    if not searches:
        return request
    others = [tool for tool in request.tools if tool not in searches]
    if _is_a_switch(schemas.get(_SEARCH)):
        options = replace(request.options, more={_SEARCH: True, **request.options.more})
        choice = request.tool_choice if others and not _demands_search(request) else "auto"
        return replace(request, tools=others, tool_choice=choice, options=options)
    return request if not others or _demands_search(request) else replace(request, tools=others)


def _demands_search(request: ChatRequest) -> bool:
    return isinstance(request.tool_choice, ChosenTool) and request.tool_choice.type == _SEARCH


def _is_a_switch(schema: Mapping[str, Any] | None) -> bool:
    return schema is not None and schema.get("type") == "boolean"
