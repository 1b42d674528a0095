"""How many tokens a request comes to, nearly: what a stream says before anything was counted. Pure."""

from collections.abc import Iterable
from typing import Final

import orjson

from proxy.core.chat_request import ChatRequest, FunctionTool, Part, Text, Thinking, ToolCall, ToolResult

_CHARACTERS_A_TOKEN: Final = 4
#: What one picture or page comes to at Anthropic.
_FILE_TOKENS: Final = 1_500


def estimated_tokens(request: ChatRequest) -> int:
    """The tokens of the conversation and the tools, by their length."""
    parts = [part for message in request.messages for part in message.parts]
    tools = [tool for tool in request.tools if isinstance(tool, FunctionTool)]
    characters = sum([len(tool.description or "") + len(orjson.dumps(tool.parameters)) for tool in tools])
    return (characters + _characters(parts)) // _CHARACTERS_A_TOKEN + 1


def _characters(parts: Iterable[Part]) -> int:
    """The characters of all texts, and as many as files come to."""
    count = 0
    for part in parts:
        if isinstance(part, Text | Thinking):
            count += len(part.text)
        elif isinstance(part, ToolCall):
            count += len(part.arguments)
        elif isinstance(part, ToolResult):
            count += _characters(part.content)
        else:
            count += _FILE_TOKENS * _CHARACTERS_A_TOKEN
    return count
