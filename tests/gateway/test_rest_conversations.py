"""Long conversations over Poe's REST endpoints, as clients have them that know nothing of caching and signatures.

The demo's Poe is the other side: it caches prompts, counts tokens, and checks what comes back.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from openai import AsyncOpenAI

from proxy.credentials import parse_poe_keys
from proxy.settings import Settings
from tests.support.local_poe import running_local_poe
from tests.support.serving import http, sdk, serving

KEY: Final = "poe-key-one"
TURNS: Final = 20
TOOL: Final = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
#: What an agent tells its model, long enough to be cached.
RULES: Final = "You are an agent. " + "Read every rule with care, and keep to it. " * 200


@pytest.fixture
async def base_url(settings: Settings) -> AsyncIterator[str]:
    """A proxy before the demo's Poe with one account: which one a session stays with is not the matter here."""
    async with running_local_poe(KEY) as url:
        changed = settings.model_copy(update={"poe_base_url": url, "poe_api_keys": parse_poe_keys(KEY)})
        async with serving(changed) as served:
            async with http(served) as raw:
                assert (await raw.get("/v1/models")).status_code == 200
            yield served


@pytest.fixture
async def client(base_url: str) -> AsyncIterator[AsyncOpenAI]:
    async with sdk(base_url) as opened:
        yield opened


def plain(message: Any) -> dict[str, Any]:
    """A message of the assistant as most clients keep it: what they do not know is dropped."""
    calls = [call.model_dump(include={"id", "type", "function"}) for call in message.tool_calls or ()]
    return {"role": "assistant", "content": message.content, **({"tool_calls": calls} if calls else {})}


@pytest.mark.parametrize(("model", "cached"), [("Claude-Demo", 0.8), ("GPT-Demo", 0.8), ("Gemini-Demo", 0.0)])
async def test_twenty_turns_with_tools(client: AsyncOpenAI, model: str, cached: float) -> None:
    """Every call is answered, its results understood, and most of the prompts is read from the cache."""
    messages: list[Any] = [{"role": "system", "content": RULES}]
    prompt_tokens = cached_tokens = calls = 0
    for turn in range(TURNS):
        messages.append({"role": "user", "content": f"Turn {turn}: please get_weather"})
        for _ in range(2):
            answer = await client.chat.completions.create(model=model, messages=messages, tools=[TOOL])  # type: ignore[list-item]
            usage, message = answer.usage, answer.choices[0].message
            assert usage is not None
            assert usage.prompt_tokens_details is not None
            prompt_tokens += usage.prompt_tokens
            cached_tokens += usage.prompt_tokens_details.cached_tokens or 0
            messages.append(plain(message))
            for call in message.tool_calls or ():
                calls += 1
                messages.append({"role": "tool", "tool_call_id": call.id, "content": f"{turn} degrees"})
        assert f"{turn} degrees" in (message.content or "")

    assert calls == TURNS
    assert cached_tokens >= cached * prompt_tokens


async def test_a_conversation_goes_on_with_a_model_of_another_vendor(base_url: str) -> None:
    """Whose signed thoughts the next model refuses: they are left out, unseen."""
    asked: dict[str, Any] = {
        "max_tokens": 4_000,
        "thinking": {"type": "enabled", "budget_tokens": 2_000},
        "messages": [{"role": "user", "content": "hello there"}],
    }
    async with http(base_url) as raw:
        first = (await raw.post("/v1/messages", json={"model": "Claude-Demo", **asked})).json()
        asked["messages"] += [
            {"role": "assistant", "content": first["content"]},
            {"role": "user", "content": "and goodbye"},
        ]
        second = await raw.post("/v1/messages", json={"model": "GPT-Demo", **asked})
        back = await raw.post("/v1/messages", json={"model": "Claude-Demo", **asked})

    assert [block["type"] for block in first["content"]] == ["thinking", "text"]
    for response in (second, back):
        assert response.status_code == 200, response.text
        assert response.json()["content"][-1]["text"] == "and goodbye"


@pytest.mark.parametrize("gives_back", [True, False])
async def test_signed_thoughts_in_a_tool_loop_over_chat(base_url: str, gives_back: bool) -> None:
    """The demo's Claude checks signatures. A client that gives none back is answered all the same, without thoughts."""
    asked: dict[str, Any] = {
        "model": "Claude-Demo",
        "reasoning_effort": "low",
        "max_tokens": 8_000,
        "tools": [TOOL],
        "messages": [{"role": "user", "content": "Please get_weather"}],
    }
    async with http(base_url) as raw:
        first = (await raw.post("/v1/chat/completions", json=asked)).json()["choices"][0]["message"]
        given = first if gives_back else {name: first[name] for name in ("role", "content", "tool_calls")}
        result = {"role": "tool", "tool_call_id": first["tool_calls"][0]["id"], "content": "18 degrees"}
        asked["messages"] += [given, result]
        second = await raw.post("/v1/chat/completions", json=asked)

    assert first["reasoning_details"][0]["signature"]
    assert second.status_code == 200, second.text
    answer = second.json()["choices"][0]["message"]
    assert "18 degrees" in answer["content"]
    assert ("reasoning_content" in answer) == gives_back
