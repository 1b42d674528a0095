"""Requests to chat: what is refused, and the prompt. Strict: fields that neither chat nor the model has are refused."""

from typing import Final

from proxy.demo.rest.answering import Prompt
from proxy.demo.rest.asked import Asked, Json
from proxy.demo.rest.errors import RestError, missing, unknown
from proxy.demo.rest.gemini_calls import check_signatures
from proxy.demo.rest.openai_checks import (
    check_number,
    check_sampling,
    list_of,
    quoted,
    read_offer,
    text_of,
)
from proxy.demo.rest.tokens import written

_FIELDS: Final = frozenset(
    [
        "model",
        "messages",
        "max_tokens",
        "max_completion_tokens",
        "stream",
        "stream_options",
        "top_p",
        "temperature",
        "n",
        "stop",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "logprobs",
        "top_logprobs",
    ]
)
#: Taken, and without effect.
_IGNORED: Final = frozenset(
    [
        "store",
        "metadata",
        "response_format",
        "prediction",
        "presence_penalty",
        "frequency_penalty",
        "seed",
        "service_tier",
        "audio",
        "logit_bias",
        "user",
        "modalities",
        "reasoning_effort",
    ]
)
_ROLES: Final = ("system", "user", "assistant", "tool")


def read_chat(asked: Asked) -> Prompt:
    """The prompt of a request. Raises RestError: chat refuses it."""
    body, model = asked.body, asked.model
    for name in body:
        if name not in _FIELDS | _IGNORED | model.declared:
            raise unknown(name)
    messages = list_of(body, "messages")
    _check_messages(messages)
    if model.is_gemini:
        check_signatures(messages)
    check_sampling(body, model)
    _check_options(body)
    offer = read_offer(body, _functions(body))
    limits = [check_number(body, name, 1) for name in ("max_tokens", "max_completion_tokens")]
    stops = body.get("stop") or []
    return Prompt(
        said=next((text_of(one.get("content")) for one in reversed(messages) if one["role"] == "user"), ""),
        results=_results(messages),
        tools=offer.tools,
        choice=offer.choice,
        forced=offer.forced,
        in_parallel=body.get("parallel_tool_calls") is not False,
        announces=model.is_claude,
        thinks=thinks(asked),
        max_tokens=min((limit for limit in limits if limit), default=model.output_tokens),
        stops=[stops] if isinstance(stops, str) else stops,
    )


def thinks(asked: Asked) -> bool:
    """Whether a parameter of the model's asks for thoughts."""
    names = asked.model.declared
    return any(asked.body.get(name) not in (None, 0, "none") for name in names)


def prompt_text(body: Json) -> str:
    """What the model reads, tools first, as it is counted and cached."""
    return "\n".join(written(one) for one in [*(body.get("tools") or []), *body["messages"]])


def _functions(body: Json) -> list[tuple[str, Json]]:
    functions = []
    for at, tool in enumerate(list_of(body, "tools")):
        if tool.get("type") != "function":
            message = f"Invalid value: '{tool.get('type')}'. Supported values are: 'function'."
            raise RestError(message, param=f"tools[{at}].type", code="invalid_value")
        if not isinstance(tool.get("function"), dict):
            raise missing(f"tools[{at}].function")
        functions.append((f"tools[{at}].function", tool["function"]))
    return functions


def _check_options(body: Json) -> None:
    if body.get("n") not in (None, 1):
        raise RestError("Only n = 1 is supported.", param="n")
    if body.get("stream_options") is not None and not body.get("stream"):
        raise RestError(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    stops = body.get("stop") or []
    if not all(isinstance(stop, str) and stop.strip() for stop in ([stops] if isinstance(stops, str) else stops)):
        raise RestError("Invalid 'stop': stop sequences must not be blank.", param="stop", code="invalid_value")


def _check_messages(messages: list[Json]) -> None:
    if not messages:
        raise missing("messages")
    waiting: dict[str, None] = {}
    for at, message in enumerate(messages):
        role = message.get("role")
        if role not in _ROLES:
            supported = "'system', 'assistant', 'user' and 'tool'"
            raise RestError(
                f"Invalid value: '{role}'. Supported values are: {supported}.",
                param=f"messages[{at}].role",
                code="invalid_value",
            )
        if role == "tool":
            _take_result(message, at, waiting)
            continue
        _check_none_waits(waiting, at)
        if role == "assistant":
            waiting = {str(call.get("id")): None for call in message.get("tool_calls") or []}
        if message.get("content") is None and not waiting:
            raise RestError(
                f"Invalid value for 'content': expected a string, got null. (messages[{at}])",
                param=f"messages[{at}].content",
            )
    _check_none_waits(waiting, len(messages))


def _take_result(message: Json, at: int, waiting: dict[str, None]) -> None:
    call_id = str(message.get("tool_call_id"))
    if call_id not in waiting:
        raise RestError(
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with "
            "'tool_calls'.",
            param=f"messages[{at}].role",
        )
    del waiting[call_id]


def _check_none_waits(waiting: dict[str, None], at: int) -> None:
    if waiting:
        raise RestError(
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each "
            f"'tool_call_id'. The following tool_call_ids did not have response messages: {quoted(waiting)}",
            param=f"messages[{at}].role",
        )


def _results(messages: list[Json]) -> list[tuple[str, str]]:
    names = {call.get("id"): call["function"]["name"] for one in messages for call in one.get("tool_calls") or []}
    results: list[tuple[str, str]] = []
    for message in reversed(messages):
        if message["role"] != "tool":
            break
        results.insert(0, (names[message["tool_call_id"]], text_of(message.get("content"))))
    return results
