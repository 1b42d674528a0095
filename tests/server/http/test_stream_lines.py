"""The lines of a stream as strict and as simple readers see them: short, and one line each whatever they say."""

import json
from typing import Any, Final

import httpx
import pytest

from tests.support.scripted_poe import DONE, Reply, ScriptedPoe, event, replace, text

#: What Go's ``bufio.Scanner`` takes for a line at most.
LONGEST_LINE_BYTES: Final = 64 * 1024
TOOLS: Final[list[Any]] = [{"type": "function", "function": {"name": "f"}}]
CHAT: Final = "/v1/chat/completions"


def chunk(**delta: object) -> bytes:
    return event("json", {"choices": [{"delta": delta}]})


def call(arguments: str) -> bytes:
    return chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": arguments}}])


async def lines_of(raw: httpx.AsyncClient, path: str = CHAT, **fields: Any) -> list[str]:
    """The lines of a streamed answer as httpx cuts them: also where JSON has none."""
    asked = {"model": "Echo", "stream": True, "messages": [{"role": "user", "content": "Hi"}], **fields}
    async with raw.stream("POST", path, json=asked) as response:
        return [line async for line in response.aiter_lines()]


def said(lines: list[str], of: str = "content") -> list[Any]:
    """The pieces of a field, as they came, one choice after the other."""
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
    choices = sorted((choice for one in chunks for choice in one["choices"]), key=lambda choice: int(choice["index"]))
    pieces = [choice.get("text") if of == "text" else choice["delta"].get(of) for choice in choices]
    return [piece for piece in pieces if piece]


LONG: Final = {
    "letters": "x" * 200_000,
    "control characters": "\x01" * 100_000,
    "pairs of surrogates": "🙂" * 50_000,
    "line ends": "a\u2028" * 25_000,
}


@pytest.mark.parametrize("letters", LONG)
@pytest.mark.parametrize("kind", ["text", "replacement", "thoughts", "thoughts in json", "refusal", "json"])
@pytest.mark.parametrize("fields", [{}, {"n": 2}, {"max_tokens": 1_000_000}])
async def test_what_came_in_one_event_goes_out_in_short_lines(
    raw: httpx.AsyncClient, poe: ScriptedPoe, letters: str, kind: str, fields: dict[str, Any]
) -> None:
    """Of at most 8,192 characters each, none of them cut in half; joined they are what Poe said."""
    long = LONG[letters]
    events, of = {
        "text": ([text(long)], "content"),
        "replacement": ([replace(long), replace(long + "!")], "content"),
        "thoughts": ([text("<think>"), text(long), text("</think>")], "reasoning_content"),
        "thoughts in json": ([chunk(reasoning_content=long)], "reasoning_content"),
        "refusal": ([chunk(refusal=long)], "refusal"),
        "json": ([chunk(content=long)], "content"),
    }[kind]
    poe.script = lambda _: Reply([*events, DONE])
    lines = await lines_of(raw, **fields)
    pieces = said(lines, of)

    whole = long + "!" if kind == "replacement" else long.strip() if kind == "thoughts" else long
    assert "".join(pieces) == whole * fields.get("n", 1)
    assert max(map(len, pieces)) <= 8_192
    assert max(len(line.encode()) for line in lines) < LONGEST_LINE_BYTES
    assert lines[-2] == "data: [DONE]"


async def test_long_arguments_are_several_deltas_of_one_call(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    arguments = json.dumps({"text": "🙂 words " * 20_000}, ensure_ascii=False)
    poe.script = lambda _: Reply([call(arguments), DONE])
    lines = await lines_of(raw, tools=TOOLS)
    calls = [one for entries in said(lines, "tool_calls") for one in entries]

    assert "".join(one["function"]["arguments"] for one in calls) == arguments
    assert {one["index"] for one in calls} == {0}
    assert ["id" in one for one in calls] == [True] + [False] * (len(calls) - 1)
    assert max(len(line.encode()) for line in lines) < LONGEST_LINE_BYTES


async def test_json_that_was_checked_goes_out_in_short_lines(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    """Though it comes from many small events it goes out at once."""
    answer = json.dumps({"words": ["word"] * 15_000})
    poe.script = lambda _: Reply([*(text(answer[at : at + 10]) for at in range(0, len(answer), 10)), DONE])
    lines = await lines_of(raw, response_format={"type": "json_object"})

    assert "".join(said(lines)) == answer
    assert max(map(len, said(lines))) <= 8_192


async def test_legacy_completions_have_short_lines_too(raw: httpx.AsyncClient, poe: ScriptedPoe) -> None:
    """Of the prompt that they echo, as well."""
    poe.script = lambda _: Reply([text("y" * 100_000), text("end"), DONE])
    lines = await lines_of(raw, "/v1/completions", messages=None, prompt="z" * 100_000, echo=True)

    assert "".join(said(lines, "text")) == "z" * 100_000 + "y" * 100_000 + "end"
    assert max(map(len, said(lines, "text"))) <= 8_192


#: Whatever ``str.splitlines`` takes for the end of a line, and what JSON escapes anyway.
LINE_ENDS: Final = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"


@pytest.mark.parametrize("together", [1, 40])
@pytest.mark.parametrize(
    ("kind", "of"),
    [("text", "content"), ("thoughts", "reasoning_content"), ("refusal", "refusal"), ("arguments", "tool_calls")],
)
@pytest.mark.parametrize("fields", [{"tools": TOOLS}, {"tools": TOOLS, "n": 2}])
async def test_no_text_ends_a_line(
    raw: httpx.AsyncClient, poe: ScriptedPoe, kind: str, of: str, together: int, fields: dict[str, Any]
) -> None:
    """In one event or many of a read: what httpx takes for a line is one event of ours, and says what Poe said."""
    words = "".join(f"a{end}b’ü" for end in LINE_ENDS)
    one = {
        "text": text(words),
        "thoughts": chunk(reasoning_content=words),
        "refusal": chunk(refusal=words),
        "arguments": chunk(tool_calls=[{"index": 0, "function": {"name": "f", "arguments": words}}]),
    }[kind]
    poe.script = lambda _: Reply([one * together, DONE])
    lines = await lines_of(raw, model="M\u2028odel", **fields) if kind == "text" else await lines_of(raw, **fields)
    pieces = said(lines, of)

    assert all(line.startswith("data: ") or not line for line in lines)
    if kind == "arguments":
        pieces = [entry["function"]["arguments"] for entries in pieces for entry in entries]
    assert "".join(pieces) == words * together * fields.get("n", 1)
