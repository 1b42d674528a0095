"""What Claude Code 2.1.332 sends, written after its requests to a server on loopback in November 2026."""

import json
from typing import Any, Final

SESSION: Final = "e62f4959-2d96-4aaa-86a4-1df8279c4f98"
#: Beside the token and the content type.
HEADERS: Final = {
    "accept": "application/json",
    "user-agent": "claude-cli/2.1.332 (external, sdk-cli)",
    "x-claude-code-session-id": SESSION,
    "x-stainless-lang": "js",
    "x-stainless-retry-count": "0",
    "x-stainless-timeout": "600",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27,"
    "mid-conversation-tool-changes-2026-07-01,thinking-token-count-2026-05-13,advanced-tool-use-2025-11-20,"
    "effort-2025-11-24,thinking-display-updates-2026-08-18",
    "anthropic-dangerous-direct-browser-access": "true",
    "anthropic-version": "2023-06-01",
    "x-app": "cli",
}
ASKED: Final[list[dict[str, Any]]] = [
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "<system-reminder>\nAttribution for git commits …\n</system-reminder>"},
            {"type": "text", "text": "Read hello.txt and say what it has."},
        ],
    },
    {
        "role": "system",
        "content": [
            {
                "type": "text",
                "text": "# Environment\nYou have been invoked in the following environment: …",
                "cache_control": {"type": "ephemeral"},
            }
        ],
    },
]


def tool(name: str, *, deferred: bool = False, **properties: dict[str, Any]) -> dict[str, Any]:
    """A tool as Claude Code defines its own."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    said = {"name": name, "description": f"What {name} does.", "input_schema": schema}
    return {**said, "defer_loading": True} if deferred else said


TOOLS: Final = [
    tool("Bash", command={"type": "string"}),
    tool("Read", file_path={"type": "string"}),
    tool("ToolSearch", query={"type": "string"}),
    tool("WebFetch", deferred=True, url={"type": "string"}),
    tool("DeferredToolPlaceholder", deferred=True),
]


def request(messages: "list[dict[str, Any]] | None" = None, **fields: Any) -> bytes:
    """The body of a turn; other ``fields`` than it has by itself."""
    user = {"device_id": "b8d57fba", "account_uuid": "", "session_id": SESSION}
    body = {
        "model": "GPT-5",
        "messages": ASKED if messages is None else messages,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.332.d70; cc_entrypoint=sdk-cli;"},
            {
                "type": "text",
                "text": "You are a Claude agent, built on Anthropic's Claude Agent SDK.",
                "cache_control": {"type": "ephemeral"},
            },
            {"type": "text", "text": "\nYou are an agent …", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        ],
        "tools": TOOLS,
        "metadata": {"user_id": json.dumps(user)},
        "max_tokens": 32_000,
        "thinking": {"type": "adaptive", "display": "updates"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "stream": True,
        **fields,
    }
    return json.dumps(body).encode()


def search_request() -> bytes:
    """What its tool WebSearch asks with."""
    messages = [{"role": "user", "content": [{"type": "text", "text": "Perform a web search for the query: hello"}]}]
    tools = [{"type": "web_search_20250305", "name": "web_search", "max_uses": 8}]
    body = json.loads(request(messages, tools=tools, tool_choice={"type": "auto"}))
    return json.dumps({name: value for name, value in body.items() if name != "thinking"}).encode()
