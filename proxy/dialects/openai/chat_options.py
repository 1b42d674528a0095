"""Turns the fields that chats and legacy completions share into core's request. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from proxy.core.chat_request import (
    ChatRequest,
    ChosenTool,
    CustomTool,
    FunctionTool,
    HostedTool,
    JsonAnswer,
    Message,
    Options,
    Tool,
)
from proxy.core.failures import UnsupportedFeature
from proxy.dialects.bodies.validation import needed
from proxy.dialects.openai import fields as wire

#: Field → option with the same value. A loop over the fields that are there is cheaper than a look at each of these.
_SAME: Final = {
    "temperature": "temperature",
    "top_p": "top_p",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "seed": "seed",
    "max_tokens": "max_visible_tokens",
    "max_completion_tokens": "max_tokens",
    "reasoning_effort": "reasoning_effort",
    "n": "choices",
    "logit_bias": "logit_bias",
    "top_logprobs": "top_logprobs",
    "modalities": "modalities",
}
_OF_FUNCTION: Final = ("name", "description", "parameters")


def build_request(fields: wire.SharedFields, messages: Sequence[Message], more: Mapping[str, Any]) -> ChatRequest:
    """Builds the request; ``more`` are the fields that the dialect does not know.

    Raises:
        InvalidRequest: a field is missing that another one requires.
        UnsupportedFeature: it uses ``functions``, the predecessor of tools.
    """
    if fields.get("functions"):
        raise UnsupportedFeature("'functions' is not supported; send 'tools' instead.", param="functions")
    request = ChatRequest(messages, fields.get("model"), bool(fields.get("stream")), options=_options(fields, more))
    if tools := fields.get("tools"):
        request.tools = [_tool(tool, f"tools[{at}]") for at, tool in enumerate(tools)]
    if choice := fields.get("tool_choice"):
        request.tool_choice = _chosen(choice) if isinstance(choice, dict) else choice
    if fields.get("parallel_tool_calls") is False:
        request.parallel_tool_calls = False
    if isinstance(key := more.get("prompt_cache_key"), str):
        request.session_key = key
    return request


def includes_usage(fields: wire.SharedFields) -> bool:
    """Whether the last chunk of a stream has the token counts."""
    options = fields.get("stream_options")
    return bool(options and options.get("include_usage"))


def _options(fields: wire.SharedFields, more: Mapping[str, Any]) -> Options:
    same: dict[str, Any] = {_SAME[name]: value for name, value in fields.items() if name in _SAME and value is not None}
    options = Options(**same, more=more)
    if stop := fields.get("stop"):
        options.stops = [stop] if isinstance(stop, str) else stop
    if wanted := fields.get("response_format"):
        options.json_answer = _json_answer(wanted)
    return options


def _json_answer(wanted: wire.ResponseFormat) -> JsonAnswer | None:
    if wanted["type"] == "text":
        return None
    if wanted["type"] == "json_object":
        return JsonAnswer("response_format.schema", wanted.get("schema"))
    path = "response_format.json_schema"
    named = needed(wanted.get("json_schema"), path)
    schema = needed(named.get("schema"), f"{path}.schema")
    return JsonAnswer(f"{path}.schema", schema, named.get("name") or "", named.get("description") or "")


def _tool(tool: wire.Tool, path: str) -> Tool:
    kind = tool["type"]
    custom = tool.get("custom")
    if kind == "custom" and custom is not None:
        return CustomTool(custom["name"], f"{path}.type", custom.get("description"), custom.get("format"))
    if kind != "function":
        return HostedTool(kind, f"{path}.type", tool)
    path = f"{path}.function"
    function = needed(tool.get("function"), path)
    more = {name: value for name, value in function.items() if name not in _OF_FUNCTION}
    return FunctionTool(function["name"], path, function.get("description"), function.get("parameters"), more)


def _chosen(choice: wire.NamedToolChoice) -> ChosenTool:
    function = choice.get("function")
    if choice["type"] == "function":
        function = needed(function, "tool_choice.function")
    return ChosenTool(choice["type"], function["name"] if function else "")
