"""Requests to responses: what is refused, and the prompt. ``instructions`` are taken and have no effect, as at Poe."""

from typing import Final

from proxy.demo.rest.answering import Prompt
from proxy.demo.rest.asked import Asked, Json
from proxy.demo.rest.errors import RestError, missing, unknown
from proxy.demo.rest.openai_checks import (
    check_level,
    check_number,
    check_sampling,
    list_of,
    read_offer,
    text_of,
)
from proxy.demo.rest.signing import is_sealed
from proxy.demo.rest.tokens import written

_FIELDS: Final = frozenset(
    [
        "model",
        "input",
        "instructions",
        "stream",
        "max_output_tokens",
        "temperature",
        "top_p",
        "reasoning",
        "text",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "truncation",
        "previous_response_id",
        "include",
        "metadata",
        "service_tier",
        "store",
        "stream_options",
        "user",
        "prompt_cache_key",
        "safety_identifier",
        "background",
    ]
)
_LEAST_TOKENS: Final = 16
_EFFORTS: Final = ("none", "low", "medium", "high")
_CALLS: Final = ("function_call", "custom_tool_call")
_OUTPUTS: Final = ("function_call_output", "custom_tool_call_output")
_HOSTED: Final = ("web_search", "web_search_preview")


def read_responses(asked: Asked) -> Prompt:
    """The prompt of a request. Raises RestError: responses refuses it."""
    body, model = asked.body, asked.model
    for name in body:
        if name not in _FIELDS:
            raise unknown(name)
    if body.get("previous_response_id"):
        raise RestError("Previous response cannot be used for this organization due to Zero Data Retention.")
    items = input_items(body)
    _check_items(items)
    check_sampling({name: body.get(name) for name in ("temperature",)}, model)
    check_level(_effort(body), _EFFORTS, model, "reasoning.effort")
    offer = read_offer(body, _functions(body))
    form = (body.get("text") or {}).get("format") or {}
    return Prompt(
        said=next((text_of(one.get("content")) for one in reversed(items) if one.get("role") == "user"), ""),
        results=_results(items),
        tools=offer.tools,
        choice=offer.choice,
        forced=offer.forced,
        in_parallel=body.get("parallel_tool_calls") is not False,
        announces=model.is_claude,
        schema=form.get("schema") if form.get("type") == "json_schema" else None,
        thinks=thinks(body),
        max_tokens=check_number(body, "max_output_tokens", _LEAST_TOKENS if model.is_gpt else 1) or model.output_tokens,
    )


def thinks(body: Json) -> bool:
    """Whether thoughts are asked for."""
    return bool(body.get("reasoning")) and _effort(body) != "none"


def input_items(body: Json) -> list[Json]:
    """The items of the input. Raises RestError: there are none."""
    given = body.get("input")
    if not given:
        raise missing("input")
    return [{"role": "user", "content": given}] if isinstance(given, str) else list_of(body, "input")


def prompt_text(body: Json) -> str:
    """What the model reads, tools first, as it is counted and cached. Ids of items are none of its business."""
    items = [{name: value for name, value in item.items() if name != "id"} for item in input_items(body)]
    return "\n".join(written(one) for one in [*(body.get("tools") or []), *items])


def _effort(body: Json) -> object:
    return (body.get("reasoning") or {}).get("effort")


def _functions(body: Json) -> list[tuple[str, Json]]:
    functions = []
    for at, tool in enumerate(list_of(body, "tools")):
        if tool.get("type") == "function":
            functions.append((f"tools[{at}]", tool))
        elif tool.get("type") not in _HOSTED:
            message = f"Invalid value: '{tool.get('type')}'. Supported values are: 'function' and 'web_search'."
            raise RestError(message, param=f"tools[{at}].type", code="invalid_value")
    return functions


def _check_items(items: list[Json]) -> None:
    """Each call has its output, and each output its call before it; thoughts are whole."""
    called: set[str] = set()
    answered: set[str] = set()
    for at, item in enumerate(items):
        kind = item.get("type", "message")
        if kind in _CALLS:
            called.add(str(item.get("call_id")))
        elif kind in _OUTPUTS:
            call_id = str(item.get("call_id"))
            if call_id not in called:
                message = f"No tool call found for function call output with call_id {call_id}."
                raise RestError(message, param="input")
            answered.add(call_id)
        elif kind == "reasoning":
            _check_reasoning(item)
        elif kind != "message":
            raise RestError(f"Invalid value: '{kind}'.", param=f"input[{at}]", code="invalid_value")
        elif item.get("role") not in ("system", "developer", "user", "assistant"):
            raise RestError(f"Invalid value: '{item.get('role')}'.", param=f"input[{at}].role", code="invalid_value")
    for call_id in sorted(called - answered):
        raise RestError(f"No tool output found for function call {call_id}.", param="input")


def _check_reasoning(item: Json) -> None:
    content = item.get("encrypted_content")
    if content is None:
        raise RestError(
            f"Item with id '{item.get('id')}' not found. Items are not persisted when `store` is set to false. "
            "Try again with `store` set to true, or remove this item from your input.",
            status=404,
            param="input",
        )
    if not is_sealed(content):
        raise RestError(
            f"The encrypted content for item {item.get('id')} could not be verified.", code="invalid_encrypted_content"
        )


def _results(items: list[Json]) -> list[tuple[str, str]]:
    names = {item.get("call_id"): str(item.get("name")) for item in items if item.get("type") in _CALLS}
    results: list[tuple[str, str]] = []
    for item in reversed(items):
        if item.get("type") not in _OUTPUTS:
            break
        results.insert(0, (names[item["call_id"]], text_of(item.get("output"))))
    return results
