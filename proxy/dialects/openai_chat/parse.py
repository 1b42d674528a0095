"""Chat completion requests in core's terms. Pure."""

from typing import NamedTuple

from proxy.core.chat_request import Audio, ChatRequest, Content, File, Image, Message, Part, Text, ToolCall, ToolResult
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.bodies.validation import needed
from proxy.dialects.openai.chat_options import build_request, includes_usage
from proxy.dialects.openai_chat.call_signatures import signature_of
from proxy.dialects.openai_chat.reasoning_details import signed_thoughts
from proxy.dialects.openai_chat.request import CHAT_BODY, ChatMessage, ContentPart
from proxy.dialects.openai_chat.request import ToolCall as WireCall


class ParsedChat(NamedTuple):
    """A request, and what passing it through takes.

    Attributes:
        include_usage: whether the last chunk of its stream has the token counts.
        given: names of the body's fields that have a value.
        nulls: names of those that are null.
    """

    request: ChatRequest
    include_usage: bool
    given: frozenset[str]
    nulls: frozenset[str]


def parse_chat_request(body: bytes, *, large: bool | None = None) -> ParsedChat:
    """Parses a body; ``large`` as in ``BodyReader.read``.

    Raises:
        InvalidRequest: a field is wrong or missing.
        UnsupportedFeature: it has a part of an unknown type, or uses ``functions``.
    """
    fields = CHAT_BODY.read(body, large=large)
    messages = [_message(message, at) for at, message in enumerate(fields["messages"])]
    request = build_request(fields, messages, CHAT_BODY.unknown(fields))
    request.options.logprobs = bool(fields.get("logprobs"))
    given = frozenset([name for name, value in fields.items() if value is not None])
    return ParsedChat(request, includes_usage(fields), given, frozenset(fields.keys() - given))


def _message(message: ChatMessage, at: int) -> Message:
    role, content, calls = message["role"], message.get("content"), message.get("tool_calls")
    if role == "tool":
        return Message("tool", [_result(message, at)])
    if role == "function":
        raise UnsupportedFeature("Results of 'functions' are not supported; use 'tools'.", param=f"messages[{at}].role")
    if role != "assistant":
        if calls:
            raise InvalidRequest("Only messages of the assistant have tool calls.", param=f"messages[{at}].tool_calls")
        if content is None:
            param = f"messages[{at}].content"
            raise InvalidRequest(f"Invalid value for '{param}': must not be null.", param=param)
    parts: list[Part] = [Text(content)] if isinstance(content, str) else [*_contents(content, at)]
    if role == "assistant" and (details := message.get("reasoning_details")):
        parts = [*signed_thoughts(details), *parts]
    if calls:
        parts += map(_call, calls)
    return Message(role, parts, message.get("name") or "")


def _call(call: WireCall) -> ToolCall:
    function = call["function"]
    return ToolCall(call["id"], function["name"], function["arguments"], signature_of(call))


def _result(message: ChatMessage, at: int) -> ToolResult:
    content = _contents(message.get("content"), at)
    path = f"messages[{at}].tool_call_id"
    return ToolResult(needed(message.get("tool_call_id"), path), content, path)


def _contents(content: str | list[ContentPart] | None, at: int) -> list[Content]:
    if isinstance(content, str):
        return [Text(content)]
    return [_content(part, at, number) for number, part in enumerate(content or ())]


def _content(part: ContentPart, at: int, number: int) -> Content:
    kind, text = part["type"], part.get("text")
    if kind == "text" and text is not None:  # as nearly every part is
        return Text(text)
    place = f"messages[{at}].content[{number}]"
    path = f"{place}.{kind}"
    match kind:
        case "text":
            return Text(needed(text, path))
        case "refusal":
            return Text(needed(part.get("refusal"), path))
        case "image_url":
            image = part.get("image_url")
            return Image(image["url"], f"{path}.url") if isinstance(image, dict) else Image(needed(image, path), path)
        case "file":
            return _file(part, path)
        case "input_audio":
            audio = needed(part.get("input_audio"), path)
            return Audio(audio["data"], audio["format"], f"{path}.data")
    raise UnsupportedFeature(f"Content of type '{kind[:40]}' is not supported.", param=place)


def _file(part: ContentPart, path: str) -> File:
    file = needed(part.get("file"), path)
    data = file.get("file_data")
    if file.get("file_id") is not None and data is None:
        raise UnsupportedFeature(
            "Files uploaded to OpenAI are not here; send the file itself as 'file_data'.", param=f"{path}.file_id"
        )
    path = f"{path}.file_data"
    return File(needed(data, path), file.get("filename") or "", path)
