"""LangChain, with its OpenAI chat model."""

from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
from seen import (
    BASE_URL,
    DEGREES,
    HELLO,
    ONE_CITY,
    PERSON,
    PNG_URL,
    REPEAT_ALL,
    RULE,
    TOKEN,
    TWO_CITIES,
    error_of,
    report,
)


def model(name="GPT-5", token=TOKEN):
    return ChatOpenAI(base_url=BASE_URL, api_key=token, model=name, max_retries=0, stream_usage=True)


class Person(BaseModel):
    name: str
    age: int


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return DEGREES[city]


def plain():
    return model().invoke(HELLO).content


def stream(name="GPT-5"):
    return [chunk.content for chunk in model(name).stream(HELLO)]


def silence():
    return stream("Slow")


def usage():
    whole = model().invoke(HELLO).usage_metadata
    chunks = list(model().stream(HELLO))
    streamed = sum(chunks[1:], start=chunks[0]).usage_metadata
    return [[one["input_tokens"], one["output_tokens"], one["total_tokens"]] for one in (whole, streamed)]


def conversation():
    earlier = [SystemMessage(RULE), HumanMessage(HELLO), AIMessage("Hello yourself")]
    return model().invoke([*earlier, HumanMessage(REPEAT_ALL)]).content


def wrong_token():
    return error_of(lambda: model(token="wrong").invoke(HELLO))


def unknown_model():
    return error_of(lambda: model("Nobody").invoke(HELLO))


def broken_stream():
    pieces = []

    def read():
        for chunk in model("Fragile").stream(HELLO):
            pieces.append(chunk.content)

    return {**error_of(read), "text": "".join(pieces)}


def tools(question=ONE_CITY):
    with_tools = model().bind_tools([get_weather])
    messages = [HumanMessage(question)]
    asked = with_tools.invoke(messages)
    messages += [asked, *(get_weather.invoke(call) for call in asked.tool_calls)]
    return {
        "calls": [[call["name"], call["args"]] for call in asked.tool_calls],
        "finish": asked.response_metadata["finish_reason"],
        "answer": with_tools.invoke(messages).content,
    }


def parallel_tools():
    return tools(TWO_CITIES)


def streamed_tools():
    chunks = list(model().bind_tools([get_weather]).stream(TWO_CITIES))
    whole = sum(chunks[1:], start=chunks[0])
    return {
        "calls": [[call["name"], call["args"]] for call in whole.tool_calls],
        "ids": [call["id"] for call in whole.tool_calls],
        "finish": whole.response_metadata["finish_reason"],
    }


def structured():
    return model().with_structured_output(Person).invoke(PERSON).model_dump()


def structured_by_tool():
    return model().with_structured_output(Person, method="function_calling").invoke(PERSON).model_dump()


def reasoning():
    """What it leaves of it: the answer alone."""
    return {"answer": model("Thinker").invoke(HELLO).content}


def streamed_reasoning():
    return {"answer": "".join(chunk.content for chunk in model("Thinker").stream(HELLO))}


def thoughts_and_a_call():
    first, *others = model("Thinker").bind_tools([get_weather]).stream(ONE_CITY)
    whole = sum(others, start=first)
    return {"calls": [[call["name"], call["args"]] for call in whole.tool_calls]}


def image():
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PNG_URL}}]
    return model().invoke([HumanMessage(parts)]).content


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
    reasoning=reasoning,
    streamed_reasoning=streamed_reasoning,
    thoughts_and_a_call=thoughts_and_a_call,
    image=image,
)
