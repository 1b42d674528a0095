"""Caching of prompts at the local Poe, in the figures that answers have."""

from typing import Any, Final

import httpx

from tests.support.serving import http, sdk

LONG: Final = "word " * 480  # 2,400 bytes, 600 tokens
MARK: Final = {"cache_control": {"type": "ephemeral"}}


async def _claude_usage(client: httpx.AsyncClient, *turns: Any, **more: Any) -> tuple[int, int, int]:
    body = {"model": "claude-demo", "max_tokens": 100, "messages": list(turns), **more}
    answer = await client.post("/v1/messages", json=body, headers={"anthropic-version": "2023-06-01"})
    usage = answer.json()["usage"]
    return usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"], usage["input_tokens"]


async def test_claude_reads_what_comes_up_to_a_marked_block(poe_url: str) -> None:
    """The next turn of a conversation reads what the turn before wrote."""
    system = [{"type": "text", "text": LONG, **MARK}]
    first = {"role": "user", "content": [{"type": "text", "text": "Hi", **MARK}]}
    turns = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hi"}]
    second = {"role": "user", "content": [{"type": "text", "text": LONG, **MARK}]}
    async with http(poe_url, "key-a1") as client:
        wrote = await _claude_usage(client, first, system=system)
        read = await _claude_usage(client, first, system=system)
        grown = await _claude_usage(client, *turns, second, system=system)

    assert wrote == (0, 621, 3)
    assert read == (621, 0, 3)
    assert grown == (621, 619, 3)


async def test_claude_caches_nothing_without_marks_or_too_few_tokens(poe_url: str) -> None:
    few = {"role": "user", "content": [{"type": "text", "text": "Hi", **MARK}]}
    async with http(poe_url, "key-a1") as client:
        unmarked = [await _claude_usage(client, {"role": "user", "content": LONG}) for _ in range(2)]
        short = [await _claude_usage(client, few) for _ in range(2)]

    assert [usage[:2] for usage in (*unmarked, *short)] == [(0, 0)] * 4


async def test_a_cache_is_the_accounts(poe_url: str) -> None:
    """Another key of the account reads it; another account does not."""
    turn = {"role": "user", "content": [{"type": "text", "text": LONG, **MARK}]}
    async with http(poe_url, "key-a1") as one, http(poe_url, "key-a2") as two, http(poe_url, "key-b") as other:
        written = (await _claude_usage(one, turn))[1]
        read = [(await _claude_usage(client, turn))[0] for client in (two, other)]

    assert read == [written, 0]


async def test_claude_has_no_cache_over_chat(poe_url: str) -> None:
    async with sdk(poe_url, "key-a1") as client:
        answers = [
            await client.chat.completions.create(model="Claude-Demo", messages=[{"role": "user", "content": LONG}])
            for _ in range(2)
        ]

    assert [_cached(answer.usage) for answer in answers] == [0, 0]


async def test_gpt_caches_by_itself_in_steps_of_128_tokens(poe_url: str) -> None:
    """As far as prompts begin alike."""
    async with sdk(poe_url, "key-a1") as client:
        ask = client.chat.completions.create
        answers = [
            await ask(model="GPT-Demo", messages=[{"role": "user", "content": text}])
            for text in (LONG, LONG, LONG[:1300] + "else" + LONG)
        ]
        responses = [await client.responses.create(model="GPT-Demo", input=LONG) for _ in range(2)]

    assert [_cached(answer.usage) for answer in answers] == [0, 512, 256]
    assert [answer.usage and answer.usage.input_tokens_details.cached_tokens for answer in responses] == [512, 512]


def _cached(usage: Any) -> int:
    cached: int = usage.prompt_tokens_details.cached_tokens
    return cached
