"""pydantic-ai, with its OpenAI chat model; the agent makes the round trips itself."""

import asyncio
import base64

from openai import AsyncOpenAI
from pydantic import BaseModel
from pydantic_ai import Agent, BinaryContent, NativeOutput
from pydantic_ai.messages import ModelRequest, ModelResponse, TextPart, ThinkingPart, ToolCallPart
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from seen import (
    BASE_URL,
    DEGREES,
    HELLO,
    ONE_CITY,
    PERSON,
    PNG_BASE64,
    REPEAT_ALL,
    RULE,
    TOKEN,
    TWO_CITIES,
    error_of,
    report,
)


def agent(name="GPT-5", token=TOKEN, **options):
    client = AsyncOpenAI(base_url=BASE_URL, api_key=token, max_retries=0)
    return Agent(OpenAIChatModel(name, provider=OpenAIProvider(openai_client=client)), retries=0, **options)


class Person(BaseModel):
    name: str
    age: int


class Report(BaseModel):
    city: str
    degrees: int


def get_weather(city: str) -> str:
    """The weather in a city."""
    return DEGREES[city]


def plain():
    return agent().run_sync(HELLO).output


async def _streamed(one, question, pieces):
    async with one.run_stream(question) as result:
        async for piece in result.stream_text(delta=True, debounce_by=None):
            pieces.append(piece)
    return result


def stream(name="GPT-5"):
    pieces = []
    asyncio.run(_streamed(agent(name), HELLO, pieces))
    return pieces


def silence():
    return stream("Slow")


def usage():
    whole = agent().run_sync(HELLO).usage
    streamed = asyncio.run(_streamed(agent(), HELLO, [])).usage
    counted = [one() if callable(one) else one for one in (whole, streamed)]
    return [[one.input_tokens, one.output_tokens, one.total_tokens] for one in counted]


def conversation():
    earlier = [ModelRequest.user_text_prompt(HELLO), ModelResponse([TextPart("Hello yourself")])]
    return agent(instructions=RULE).run_sync(REPEAT_ALL, message_history=earlier).output


def wrong_token():
    return error_of(lambda: agent(token="wrong").run_sync(HELLO))


def unknown_model():
    return error_of(lambda: agent("Nobody").run_sync(HELLO))


def broken_stream():
    pieces = []
    error = error_of(lambda: asyncio.run(_streamed(agent("Fragile"), HELLO, pieces)))
    return {**error, "text": "".join(pieces)}


def tools(question=ONE_CITY):
    result = agent(tools=[get_weather]).run_sync(question)
    asked = result.all_messages()[1]
    calls = [part for part in asked.parts if isinstance(part, ToolCallPart)]
    return {
        "calls": [[call.tool_name, call.args_as_dict()] for call in calls],
        "finish": asked.finish_reason,
        "answer": result.output,
    }


def parallel_tools():
    return tools(TWO_CITIES)


def streamed_tools():
    """The agent streams its first step, which is two calls, makes them, and streams its second."""
    pieces = []
    result = asyncio.run(_streamed(agent(tools=[get_weather]), TWO_CITIES, pieces))
    asked = result.all_messages()[1]
    calls = [part for part in asked.parts if isinstance(part, ToolCallPart)]
    return {
        "calls": [[call.tool_name, call.args_as_dict()] for call in calls],
        "ids": [call.tool_call_id for call in calls],
        "finish": asked.finish_reason,
    }


def structured():
    return agent(output_type=NativeOutput(Person)).run_sync(PERSON).output.model_dump()


def structured_by_tool():
    return agent(output_type=Person).run_sync(PERSON).output.model_dump()


def tool_then_structured():
    """Three steps: the question, the tool's result, and the output as a call of the agent's own tool."""
    return agent(tools=[get_weather], output_type=Report).run_sync(ONE_CITY).output.model_dump()


def reasoning():
    result = agent("Thinker").run_sync(HELLO)
    thoughts = [part.content for part in result.all_messages()[1].parts if isinstance(part, ThinkingPart)]
    return {"thought": "".join(thoughts), "answer": result.output}


def streamed_reasoning():
    pieces = []
    result = asyncio.run(_streamed(agent("Thinker"), HELLO, pieces))
    thoughts = [part.content for part in result.all_messages()[1].parts if isinstance(part, ThinkingPart)]
    return {"thought": "".join(thoughts), "answer": "".join(pieces)}


def thoughts_and_a_call():
    result = asyncio.run(_streamed(agent("Thinker", tools=[get_weather]), ONE_CITY, []))
    parts = result.all_messages()[1].parts
    return {
        "thought": "".join(part.content for part in parts if isinstance(part, ThinkingPart)),
        "calls": [[part.tool_name, part.args_as_dict()] for part in parts if isinstance(part, ToolCallPart)],
    }


def image():
    picture = BinaryContent(base64.b64decode(PNG_BASE64), media_type="image/png")
    return agent().run_sync(["What is this?", picture]).output


report(
    plain=plain,
    stream=stream,
    silence=silence,
    usage=usage,
    conversation=conversation,
    wrong_token=wrong_token,
    unknown_model=unknown_model,
    broken_stream=broken_stream,
    tools=tools,
    parallel_tools=parallel_tools,
    streamed_tools=streamed_tools,
    structured=structured,
    structured_by_tool=structured_by_tool,
    tool_then_structured=tool_then_structured,
    reasoning=reasoning,
    streamed_reasoning=streamed_reasoning,
    thoughts_and_a_call=thoughts_and_a_call,
    image=image,
)
