"""Responses of the local Poe, as OpenAI's SDK sees them."""

from typing import Any, Final

import pytest
from openai import BadRequestError, NotFoundError

from tests.support.serving import sdk

KEY: Final = "key-a1"
TOOLS: Final[list[Any]] = [
    {
        "type": "function",
        "name": "look",
        "strict": False,
        "parameters": {"type": "object", "properties": {"place": {"type": "string"}}, "$schema": "x"},
    }
]


async def test_an_answer_is_the_same_whole_and_streamed(poe_url: str) -> None:
    async with sdk(poe_url, KEY) as client:
        whole = await client.responses.create(model="GPT-Demo", input="Say this to me.")
        async with client.responses.stream(model="GPT-Demo", input="Say this to me.") as stream:
            events = [event async for event in stream]
            last = await stream.get_final_response()

    assert whole.output_text == last.output_text == "Say this to me."
    assert whole.model == "gpt-demo-2026-01-01"
    assert (whole.usage, whole.status) == (last.usage, "completed")
    assert [event.sequence_number for event in events] == list(range(len(events)))


async def test_thoughts_come_as_summary_and_sealed_and_may_come_back(poe_url: str) -> None:
    async with sdk(poe_url, KEY) as client:
        first = await client.responses.create(
            model="GPT-Demo",
            input="look",
            tools=TOOLS,
            reasoning={"effort": "low", "summary": "auto"},
            include=["reasoning.encrypted_content"],
        )
        reasoning, call = [item.model_dump(exclude_none=True) for item in first.output]
        result = {"type": "function_call_output", "call_id": call["call_id"], "output": "a tree"}
        conversation: list[Any] = [{"role": "user", "content": "look"}, reasoning, call, result]
        told = await client.responses.create(model="GPT-Demo", input=conversation, tools=TOOLS)

        sealed = reasoning["encrypted_content"]
        reasoning["encrypted_content"] = sealed[:-8] + sealed[:4] + sealed[-4:]
        with pytest.raises(BadRequestError, match="could not be verified"):
            await client.responses.create(model="GPT-Demo", input=conversation, tools=TOOLS)
        del reasoning["encrypted_content"]
        with pytest.raises(NotFoundError, match="Items are not persisted"):
            await client.responses.create(model="GPT-Demo", input=conversation, tools=TOOLS)

    assert reasoning["summary"][0]["text"] == "I was told 1 words, and have 1 tools."
    assert (first.reasoning and first.reasoning.summary) == "detailed"
    assert told.output_text == "I asked: look says a tree."
    tool: Any = told.tools[0]
    assert (tool.strict, "$schema" in tool.parameters) == (False, False)


async def test_a_cut_answer_is_incomplete(poe_url: str) -> None:
    async with sdk(poe_url, KEY) as client:
        answer = await client.responses.create(model="GPT-Demo", input="ab" * 40, max_output_tokens=16)
        with pytest.raises(BadRequestError, match="Expected a value >= 16"):
            await client.responses.create(model="GPT-Demo", input="Hi", max_output_tokens=15)

    assert (answer.status, answer.output_text) == ("incomplete", "ab" * 32)
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"


async def test_an_answer_in_a_form_that_is_asked_for(poe_url: str) -> None:
    schema = {"type": "object", "properties": {"city": {"enum": ["Oslo"]}, "days": {"type": "integer"}}}
    form: Any = {"type": "json_schema", "name": "x", "schema": schema}
    async with sdk(poe_url, KEY) as client:
        answer = await client.responses.create(model="GPT-Demo", input="Where?", text={"format": form})

    assert answer.output_text == '{"city": "Oslo", "days": 1}'


@pytest.mark.parametrize(
    ("model", "changes", "says"),
    [
        ("Gemini-Demo", {}, "Model does not support responses method."),
        ("GPT-Demo", {"previous_response_id": "resp_1"}, "Zero Data Retention"),
        ("GPT-Demo", {"reasoning": {"effort": "minimal"}}, "Supported values are: 'none', 'low', 'medium', 'high'"),
        ("GPT-Demo", {"extra_body": {"stop": ["x"]}}, "Unknown parameter: 'stop'"),
        ("GPT-Demo", {"tools": [TOOLS[0] | {"strict": True}]}, "'additionalProperties' is required"),
        (
            "GPT-Demo",
            {"input": [{"type": "function_call_output", "call_id": "c", "output": ""}]},
            "No tool call found for function call output with call_id c",
        ),
    ],
)
async def test_what_poe_refuses(poe_url: str, model: str, changes: dict[str, Any], says: str) -> None:
    fields: dict[str, Any] = {"model": model, "input": "Hi", **changes}
    async with sdk(poe_url, KEY) as client:
        with pytest.raises(BadRequestError, match=says):
            await client.responses.create(**fields)
