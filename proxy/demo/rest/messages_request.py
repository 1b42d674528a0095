"""Requests to messages: the prompt, and what is refused beside the conversation."""

import re
from collections.abc import Mapping
from typing import Any, Final

from proxy.demo.rest.answering import Choice, Prompt
from proxy.demo.rest.asked import Asked, Json
from proxy.demo.rest.errors import RestError
from proxy.demo.rest.messages_checks import check_conversation
from proxy.demo.rest.messages_prompt import as_blocks, content_of, marks, merged_turns
from proxy.demo.rest.models import Model

_FIELDS: Final = frozenset(
    [
        "model",
        "messages",
        "max_tokens",
        "system",
        "temperature",
        "top_p",
        "top_k",
        "stream",
        "stop_sequences",
        "tools",
        "tool_choice",
        "metadata",
        "thinking",
        "service_tier",
        "container",
        "context_management",
        "mcp_servers",
        "output_config",
        "output_format",
        "cache_control",
    ]
)
_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,128}")
_MAX_MARKS: Final = 4
_LEAST_BUDGET: Final = 1024
_LEAST_TOP_P: Final = 0.95
_CHOICES: Final[dict[str, Choice]] = {"auto": "auto", "none": "none", "any": "any", "tool": "any"}
_EFFORTS: Final = ("max", "high", "medium", "low")


def read_messages(asked: Asked) -> Prompt:
    """The prompt of a request. Raises RestError: Anthropic refuses it."""
    body, model = asked.body, asked.model
    _check_fields(body, model)
    tools = _tools(body)
    choice = _choice(body, tools)
    thinks = _check_thinking(body, model, is_forced=choice.get("type") in ("any", "tool"))
    turns = merged_turns(body["messages"])
    check_conversation(body, turns, thinks=thinks)
    _check_marks(body)
    kind = str(choice.get("type", "auto"))
    form = (body.get("output_config") or {}).get("format") or body.get("output_format") or {}
    return Prompt(
        said=next((text for role, blocks in reversed(turns) if role == "user" and (text := _last_text(blocks))), ""),
        results=_results(turns),
        tools=tools,
        choice=_CHOICES[kind],
        forced=choice["name"] if kind == "tool" else None,
        in_parallel=choice.get("disable_parallel_tool_use") is not True,
        announces=not thinks,
        schema=form.get("schema"),
        thinks=thinks,
        max_tokens=body["max_tokens"],
        stops=body.get("stop_sequences") or (),
    )


def _last_text(blocks: list[Json]) -> str:
    """The last text; before it, the other blocks show as their kinds."""
    texts = [block["text"] for block in blocks if block.get("type") == "text"]
    others = [f"({block['type']})" for block in blocks if block.get("type") in ("image", "document")]
    return "".join([*others, *texts[-1:]])


def _results(turns: list[tuple[str, list[Json]]]) -> list[tuple[str, str]]:
    """What tools gave, if the user says nothing behind it."""
    last = turns[-1][1]
    if turns[-1][0] != "user" or last[-1].get("type") != "tool_result":
        return []
    names = {block.get("id"): block["name"] for _, blocks in turns for block in blocks if block["type"] == "tool_use"}
    return [
        (names[block["tool_use_id"]], "".join(part.get("text", "") for part in content_of(block)))
        for block in last
        if block["type"] == "tool_result"
    ]


def _check_fields(body: Json, model: Model) -> None:
    for name in body:
        if name not in _FIELDS:
            raise RestError(f"{name}: Extra inputs are not permitted")
    for name in ("max_tokens", "messages"):
        if body.get(name) is None:
            raise RestError(f"{name}: Field required")
    most = body["max_tokens"]
    if type(most) is not int or most < 1:
        raise RestError("max_tokens: Input should be greater than or equal to 1")
    if most > model.output_tokens:
        raise RestError(
            f"max_tokens: {most} > {model.output_tokens}, which is the maximum allowed number of output tokens for "
            f"{model.backend}"
        )
    if not isinstance(body["messages"], list) or not body["messages"]:
        raise RestError("messages: at least one message is required")
    _check_sampling(body)


def _check_sampling(body: Json) -> None:
    if any(not block.get("text") for block in as_blocks(body.get("system"))):
        raise RestError("system: text content blocks must be non-empty")
    if any(not stop.strip() for stop in body.get("stop_sequences") or ()):
        raise RestError("stop_sequences: each stop sequence must contain non-whitespace")
    if body.get("temperature") is not None and body.get("top_p") is not None:
        raise RestError("`temperature` and `top_p` cannot both be specified for this model. Please use only one.")
    if not 0 <= (body.get("temperature") or 0) <= 1:
        raise RestError("temperature: range: 0..1")


def _tools(body: Json) -> dict[str, Mapping[str, Any]]:
    """The caller's own tools. Those that Anthropic runs have a type, and are taken without effect."""
    tools: dict[str, Mapping[str, Any]] = {}
    for at, tool in enumerate(body.get("tools") or []):
        if tool.get("type") not in (None, "custom"):
            continue
        name, schema = tool.get("name"), tool.get("input_schema")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise RestError(f"tools.{at}.custom.name: String should match pattern '^[a-zA-Z0-9_-]{{1,128}}$'")
        if not isinstance(schema, dict):
            raise RestError(f"tools.{at}.custom.input_schema: Field required")
        if "type" not in schema:
            raise RestError(f"tools.{at}.custom.input_schema.type: Field required")
        if schema["type"] != "object":
            raise RestError(f"tools.{at}.custom.input_schema.type: Input should be 'object'")
        if name in tools:
            raise RestError("tools: Tool names must be unique.")
        tools[name] = schema
    return tools


def _choice(body: Json, tools: Mapping[str, object]) -> Json:
    choice: Json = body.get("tool_choice") or {}
    kind = choice.get("type", "auto")
    if kind not in _CHOICES:
        raise RestError(f"tool_choice: Input tag '{kind}' found using 'type' does not match any of the expected tags")
    if choice and not body.get("tools"):
        raise RestError("tool_choice: tool_choice may only be specified while providing tools.")
    if kind == "tool" and choice.get("name") not in tools:
        raise RestError(f"Tool '{choice.get('name')}' not found in provided tools")
    return choice


def _check_thinking(body: Json, model: Model, *, is_forced: bool) -> bool:
    """Whether the model thinks. Raises RestError: it cannot as it is asked to."""
    thinking = body.get("thinking") or {}
    effort = (body.get("output_config") or {}).get("effort")
    if effort is not None and (model.takes_budget or effort not in _EFFORTS):
        raise RestError("This model does not support the effort parameter.")
    kind = thinking.get("type", "disabled")
    if kind not in ("enabled", "adaptive", "disabled"):
        raise RestError(f"thinking: Input tag '{kind}' found using 'type' does not match any of the expected tags")
    if kind == "disabled":
        return False
    if (kind == "enabled") != model.takes_budget:
        raise RestError(f'"thinking.type.{kind}" is not supported for this model.')
    if kind == "enabled":
        _check_budget(thinking.get("budget_tokens"), body["max_tokens"])
    if body.get("temperature") not in (None, 1):
        raise RestError("`temperature` may only be set to 1 when thinking is enabled.")
    if body.get("top_k") is not None:
        raise RestError("`top_k` must be unset when thinking is enabled.")
    if (body.get("top_p") or 1) < _LEAST_TOP_P:
        raise RestError("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled.")
    if is_forced:
        raise RestError("Thinking may not be enabled when tool_choice forces tool use.")
    return True


def _check_budget(budget: object, max_tokens: int) -> None:
    if type(budget) is not int:
        raise RestError("thinking.enabled.budget_tokens: Field required")
    if budget < _LEAST_BUDGET:
        raise RestError(f"thinking.enabled.budget_tokens: Input should be greater than or equal to {_LEAST_BUDGET}")
    if budget >= max_tokens:
        raise RestError("`max_tokens` must be greater than `thinking.budget_tokens`.")


def _check_marks(body: Json) -> None:
    found = marks(body)
    if len(found) > _MAX_MARKS:
        raise RestError(f"A maximum of {_MAX_MARKS} blocks with cache_control may be provided. Found {len(found)}.")
    if any(mark.get("type") != "ephemeral" or mark.get("ttl", "5m") not in ("5m", "1h") for mark in found):
        raise RestError("cache_control: Input should be ephemeral, with a ttl of '5m' or '1h'")
    ttls = [mark.get("ttl", "5m") for mark in found]
    if ttls != sorted(ttls):
        raise RestError("a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block.")
