"""A task as Codex 0.171 asks for it, two turns long: what it sends, in form, with words of our own."""

import json
from typing import Any, Final

import httpx

from tests.dialects.openai_responses.reading import check_events, events_of
from tests.support.scripted_poe import DONE, META, Asked, Reply, ScriptedPoe, answer, event, replace, text

SESSION: Final = "01a22ef1-71b2-7ee2-b0f4-3f1067b353f1"
HEADERS: Final = {
    "accept": "text/event-stream",
    "originator": "codex_exec",
    "user-agent": "codex_exec/0.171.0 (Debian 12.0.0; x86_64) xterm (codex_exec; 0.171.0)",
    "session-id": SESSION,
    "thread-id": SESSION,
    "x-client-request-id": SESSION,
    "x-codex-beta-features": "remote_compaction_v2",
    "x-codex-turn-metadata": json.dumps({"session_id": SESSION, "sandbox": "none"}),
}
PATCH: Final = "*** Begin Patch\n*** Add File: b.txt\n+hello\n*** End Patch\n"


def function(name: str, **properties: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {one: {"type": kind} for one, kind in properties.items()}}
    return {"type": "function", "name": name, "description": f"{name}.", "strict": False, "parameters": parameters}


TOOLS: Final = [
    function("exec_command", cmd="string", max_output_tokens="number"),
    function("write_stdin", chars="string", session_id="number"),
    {
        "type": "custom",
        "name": "apply_patch",
        "description": "Edits files. This is a FREEFORM tool, so do not wrap the patch in JSON.",
        "format": {"type": "grammar", "syntax": "lark", "definition": "start: begin_patch hunk+ end_patch"},
    },
    {
        "type": "namespace",
        "name": "multi_agent_v1",
        "description": "Tools for sub-agents.",
        "tools": [function("spawn_agent", message="string"), function("close_agent", target="string")],
    },
    {"type": "tool_search", "execution": "client", "description": "# Tool discovery", "parameters": {"type": "object"}},
    {"type": "web_search", "external_web_access": True, "search_content_types": ["text", "image"]},
]
PROMPT: Final = [
    {
        "type": "message",
        "id": "msg_1",
        "role": "developer",
        "content": [{"type": "input_text", "text": "You work in a terminal."}],
    },
    {
        "type": "message",
        "id": "msg_2",
        "role": "user",
        "content": [
            {"type": "input_text", "text": "<environment_context>\n  <shell>bash</shell>\n</environment_context>"}
        ],
    },
    {"type": "message", "id": "msg_3", "role": "user", "content": [{"type": "input_text", "text": "Add b.txt."}]},
]


def body(*more: dict[str, Any]) -> dict[str, Any]:
    return {
        "model": "Echo",
        "stream": True,
        "input": [*PROMPT, *more],
        "tools": TOOLS,
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"summary": "auto"},
        "store": False,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": SESSION,
        "text": {"verbosity": "low"},
        "client_metadata": {"thread_id": SESSION, "x-codex-window-id": f"{SESSION}:0"},
    }


def chunk(delta: dict[str, Any], reason: str | None = None) -> bytes:
    return event("json", {"choices": [{"index": 0, "delta": delta, "finish_reason": reason}]})


def call(index: int, name: str, arguments: dict[str, str]) -> bytes:
    made = {"name": name, "arguments": json.dumps(arguments)}
    return chunk({"tool_calls": [{"index": index, "id": f"call_{index}", "type": "function", "function": made}]})


def script(asked: Asked) -> Reply:
    """Thinks, says what it will do, runs a command, patches and spawns; then says what came of it."""
    if asked.query["query"][-1]["role"] == "tool":
        return answer("Done.")
    return Reply(
        [
            META,
            replace("*Thinking...*\n\n> A file is wanted.\n\n"),
            text("I shall add it."),
            call(0, "exec_command", {"cmd": "ls"}),
            call(1, "apply_patch", {"input": PATCH}),
            call(2, "multi_agent_v1__spawn_agent", {"message": "Look."}),
            chunk({}, "tool_calls"),
            DONE,
        ]
    )


async def turn(raw: httpx.AsyncClient, *more: dict[str, Any]) -> list[dict[str, Any]]:
    """The items that Codex acts on: those of ``response.output_item.done``."""
    response = await raw.post("/v1/responses", json=body(*more), headers=HEADERS)
    events = events_of(response.content)
    check_events(events)
    assert events[-1]["type"] == "response.completed"
    done = [one["item"] for one in events if one["type"] == "response.output_item.done"]
    assert done == events[-1]["response"]["output"]
    return done


async def test_a_task_of_two_turns(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = script

    thoughts, said, command, patch, spawn = await turn(raw)
    outputs = [
        {"type": "function_call_output", "id": "fco_1", "call_id": command["call_id"], "output": "Output:\na.txt\n"},
        {"type": "custom_tool_call_output", "id": "ctco_1", "call_id": patch["call_id"], "output": "Exit code: 0"},
        {"type": "function_call_output", "id": "fco_2", "call_id": spawn["call_id"], "output": "{}"},
    ]
    (last,) = await turn(raw, {**thoughts, "content": None}, said, command, patch, spawn, *outputs)

    assert thoughts["summary"][0]["text"] == "A file is wanted."
    assert (command["name"], command["arguments"]) == ("exec_command", '{"cmd": "ls"}')
    assert (patch["type"], patch["name"], patch["input"]) == ("custom_tool_call", "apply_patch", PATCH)
    assert (spawn["namespace"], spawn["name"]) == ("multi_agent_v1", "spawn_agent")
    assert last["content"][0]["text"] == "Done."


async def test_what_the_bot_gets_of_it(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    poe.script = script
    items = await turn(raw)
    calls = [item for item in items if "call_id" in item]
    outputs = [{"type": f"{one['type']}_output", "call_id": one["call_id"], "output": "ok"} for one in calls]

    await turn(raw, *items, *outputs)

    first, second = (asked.query for asked in poe.queries)
    assert [tool["function"]["name"] for tool in first["tools"]] == [
        "exec_command",
        "write_stdin",
        "apply_patch",
        "multi_agent_v1__spawn_agent",
        "multi_agent_v1__close_agent",
        "tool_search",
    ]
    assert [one["role"] for one in second["query"]] == ["system", "user", "user", "bot", "bot", "tool"]
    assert second["query"][:3] == first["query"]
    assert second["query"][3]["content"] == "I shall add it."
    assert [one["function"]["name"] for one in json.loads(second["query"][4]["content"])] == [
        "exec_command",
        "apply_patch",
        "multi_agent_v1__spawn_agent",
    ]
    assert [one["content"] for one in json.loads(second["query"][5]["content"])] == ["ok", "ok", "ok"]


async def test_its_list_of_models_has_windows(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    window = {"context_length": 200_000, "max_output_tokens": 8_000}
    poe.models = [{"id": "echo", "metadata": {"display_name": "Echo"}, "context_window": window}]

    models = (await raw.get("/v1/models?client_version=0.171.0")).json()["models"]

    assert {one["slug"]: one["context_window"] for one in models}["Echo"] == 200_000
