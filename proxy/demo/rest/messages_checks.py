"""What Anthropic refuses in a conversation, in its words. Places count turns, whose messages were joined."""

import re
from typing import Final

from proxy.demo.rest.asked import Json
from proxy.demo.rest.errors import RestError
from proxy.demo.rest.signing import is_signed

_KINDS: Final = {
    "user": frozenset(["text", "image", "document", "tool_result", "search_result"]),
    "assistant": frozenset(
        ["text", "tool_use", "thinking", "redacted_thinking", "server_tool_use", "web_search_tool_result"]
    ),
}
_THOUGHTS: Final = ("thinking", "redacted_thinking")
_ID: Final = re.compile(r"[a-zA-Z0-9_-]+")

Turns = list[tuple[str, list[Json]]]


def check_conversation(body: Json, turns: Turns, *, thinks: bool) -> None:
    """Checks the turns. Raises RestError: they make no conversation."""
    for at, (role, blocks) in enumerate(turns):
        if role not in _KINDS:
            raise RestError(
                f'messages: Unexpected role "{role}". The Messages API accepts a top-level `system` parameter, not '
                '"system" as an input message role.'
            )
        if not blocks and (role == "user" or at < len(turns) - 1):
            raise RestError(
                f"messages.{at}: all messages must have non-empty content except for the optional final assistant "
                "message"
            )
        for index, block in enumerate(blocks):
            _check_block(block, role, f"messages.{at}.content.{index}")
    if turns[0][0] != "user":
        raise RestError('messages: first message must use the "user" role')
    _check_end(turns)
    _check_calls(body, turns)
    if thinks:
        _check_thoughts(turns)


def _check_block(block: Json, role: str, place: str) -> None:
    kind = block.get("type")
    if kind not in _KINDS[role]:
        raise RestError(f"{place}: Input tag '{kind}' found using 'type' does not match any of the expected tags")
    if kind == "text":
        _check_text(block)
    elif kind == "thinking" and not is_signed("claude", str(block.get("thinking")), block.get("signature")):
        raise RestError(f"{place}: Invalid `signature` in `thinking` block")
    elif kind == "redacted_thinking":
        raise RestError(f"{place}: Invalid `data` in `redacted_thinking` block")
    elif kind == "tool_use" and not _ID.fullmatch(str(block.get("id"))):
        raise RestError(f"{place}.tool_use.id: String should match pattern '^[a-zA-Z0-9_-]+$'")
    elif kind == "tool_use" and not isinstance(block.get("input"), dict):
        raise RestError(f"{place}.tool_use.input: Input should be a valid dictionary")
    if kind in _THOUGHTS and block.get("cache_control"):
        raise RestError(f"{place}.{kind}.cache_control: Extra inputs are not permitted")
    for part in block["content"] if kind == "tool_result" and isinstance(block.get("content"), list) else ():
        if part.get("type") == "text":
            _check_text(part)


def _check_text(block: Json) -> None:
    text = block.get("text")
    if not isinstance(text, str):
        raise RestError("messages: text: Input should be a valid string")
    if not text and block.get("cache_control"):
        raise RestError("cache_control cannot be set for empty text blocks")
    if not text:
        raise RestError("messages: text content blocks must be non-empty")
    if not text.strip():
        raise RestError("messages: text content blocks must contain non-whitespace text")


def _check_end(turns: Turns) -> None:
    """The beginning of an answer may stand last. It ends with no blank; no turn ends with thoughts."""
    for at, (role, blocks) in enumerate(turns):
        if role == "assistant" and blocks and blocks[-1]["type"] in _THOUGHTS:
            raise RestError(f"messages.{at}: The final block in an assistant message cannot be `thinking`.")
    role, blocks = turns[-1]
    if role == "assistant" and blocks and blocks[-1].get("text", "x")[-1:].isspace():
        raise RestError("messages: final assistant content cannot end with trailing whitespace")


def _check_calls(body: Json, turns: Turns) -> None:
    """Each call has one result, at the beginning of the turn behind it; and each result has its call."""
    seen: set[str] = set()
    waiting: list[str] = []
    for at, (role, blocks) in enumerate(turns):
        results = [
            (index, block["tool_use_id"]) for index, block in enumerate(blocks) if block["type"] == "tool_result"
        ]
        calls = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if (results or calls) and not body.get("tools"):
            raise RestError("Requests which include `tool_use` or `tool_result` blocks must define tools")
        if role == "user":
            _check_results(results, waiting, at)
        if seen & set(calls) or len(set(calls)) < len(calls):
            raise RestError("messages: `tool_use` ids must be unique")
        seen |= set(calls)
        waiting = calls
    _check_none_waits(waiting, len(turns) - 1)


def _check_results(results: list[tuple[int, str]], waiting: list[str], at: int) -> None:
    given: set[str] = set()
    for index, call_id in results:
        if call_id not in waiting:
            raise RestError(
                f"messages.{at}.content.{index}: unexpected `tool_use_id` found in `tool_result` blocks: {call_id}. "
                "Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            )
        if call_id in given:
            raise RestError(
                f"messages.{at}.content.{index}: each tool_use must have a single result. "
                f"Found multiple `tool_result` blocks with id: {call_id}"
            )
        given.add(call_id)
    first = {call_id for place, (index, call_id) in enumerate(results) if index == place}
    _check_none_waits([call_id for call_id in waiting if call_id not in first], at - 1)


def _check_none_waits(waiting: list[str], at: int) -> None:
    if waiting:
        raise RestError(
            f"messages.{at}: `tool_use` ids were found without `tool_result` blocks immediately after: "
            f"{', '.join(waiting)}. Each `tool_use` block must have a corresponding `tool_result` block in the next "
            "message."
        )


def _check_thoughts(turns: Turns) -> None:
    """The turn that the model goes on with has to begin with its thoughts."""
    last_role, last = turns[-1]
    goes_on = last_role == "assistant" or any(block["type"] == "tool_result" for block in last)
    at = len(turns) - (1 if last_role == "assistant" else 2)
    if not goes_on or at < 0 or not turns[at][1]:
        return
    kind = turns[at][1][0]["type"]
    if kind not in _THOUGHTS:
        raise RestError(
            f"messages.{at}.content.0.type: Expected `thinking` or `redacted_thinking`, but found `{kind}`. When "
            "`thinking` is enabled, a final `assistant` message must start with a thinking block (preceeding the "
            "lastmost set of `tool_use` and `tool_result` blocks)."
        )
