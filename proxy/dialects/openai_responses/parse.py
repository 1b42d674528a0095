"""Requests for responses in core's terms. Pure."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from proxy.core.chat_request import ChatRequest, JsonAnswer, Message, Options, Text
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.bodies.validation import missing, needed
from proxy.dialects.openai_responses.conversation import Conversation
from proxy.dialects.openai_responses.names import ToolNames
from proxy.dialects.openai_responses.repeated import repeated_fields
from proxy.dialects.openai_responses.request import RESPONSES_BODY, ResponsesBody
from proxy.dialects.openai_responses.toolset import ToolSet

_THOUGHTS: Final = "reasoning.encrypted_content"
_LOGPROBS: Final = "message.output_text.logprobs"


class ParsedResponse(NamedTuple):
    """A request.

    Attributes:
        names: the tools by the names that the model gets.
        repeated: what the response repeats of the request, as JSON members.
        with_token: whether the client asks for ``encrypted_content``.
    """

    request: ChatRequest
    names: ToolNames
    repeated: bytes
    with_token: bool


def parse_responses_request(body: bytes, *, large: bool | None = None) -> ParsedResponse:
    """Parses a body; ``large`` as in ``BodyReader.read``.

    Raises:
        InvalidRequest: a field is wrong or missing.
        UnsupportedFeature: it asks for what is not here.
    """
    fields = RESPONSES_BODY.read(body, large=large)
    for refusal in _refusals(fields):
        raise refusal
    tools = ToolSet()
    for at, tool in enumerate(fields.get("tools") or ()):
        tools.add(tool, f"tools[{at}]")
    messages = _messages(fields, tools)
    request = ChatRequest(messages, fields.get("model"), bool(fields.get("stream")), options=_options(fields))
    request.tool_choice = tools.choice(fields.get("tool_choice"))
    request.tools = tools.functions
    request.parallel_tool_calls = fields.get("parallel_tool_calls") is not False
    request.session_key = fields.get("prompt_cache_key") or ""
    return ParsedResponse(request, tools.names, repeated_fields(fields), _THOUGHTS in (fields.get("include") or ()))


def _refusals(fields: ResponsesBody) -> Iterator[InvalidRequest]:
    """What cannot be done, and what to do instead."""
    if fields.get("previous_response_id") is not None:
        yield UnsupportedFeature(
            "Responses are not stored here, so 'previous_response_id' is not supported: "
            "send the whole conversation as 'input', the items of earlier responses included.",
            param="previous_response_id",
        )
    if fields.get("conversation") is not None:
        yield UnsupportedFeature(
            "Conversations are not stored here: send the whole of it as 'input'.", param="conversation"
        )
    if fields.get("prompt") is not None:
        yield UnsupportedFeature("Prompts are not stored here: send the text of it as 'input'.", param="prompt")
    if fields.get("background"):
        yield UnsupportedFeature("Responses in the background are not supported: set 'stream'.", param="background")
    if _LOGPROBS in (fields.get("include") or ()):
        yield UnsupportedFeature("Poe gives no log probabilities.", param="include")


def _messages(fields: ResponsesBody, tools: ToolSet) -> list[Message]:
    conversation = Conversation(tools)
    if instructions := fields.get("instructions"):
        conversation.messages.append(Message("developer", [Text(instructions)]))
    said = fields.get("input")
    if said is None:
        raise missing("input")
    if isinstance(said, str):
        return [*conversation.messages, Message("user", [Text(said)])]
    return conversation.read(said)


def _options(fields: ResponsesBody) -> Options:
    text = fields.get("text") or {}
    more = RESPONSES_BODY.unknown(fields)
    if verbosity := text.get("verbosity"):
        more.setdefault("verbosity", verbosity)
    return Options(
        temperature=fields.get("temperature"),
        top_p=fields.get("top_p"),
        max_tokens=fields.get("max_output_tokens"),
        reasoning_effort=(fields.get("reasoning") or {}).get("effort"),
        json_answer=_json_answer(fields),
        top_logprobs=fields.get("top_logprobs") or 0,
        more=more,
    )


def _json_answer(fields: ResponsesBody) -> JsonAnswer | None:
    wanted = (fields.get("text") or {}).get("format")
    if wanted is None or wanted["type"] == "text":
        return None
    path = "text.format.schema"
    if wanted["type"] == "json_object":
        return JsonAnswer(path)
    schema = needed(wanted.get("schema"), path)
    return JsonAnswer(path, schema, wanted.get("name") or "", wanted.get("description") or "")
