"""LlamaIndex, with its model for servers that are like OpenAI's."""

import base64
import json

from llama_index.core.base.llms.types import ThinkingBlock
from llama_index.core.llms import ChatMessage, ImageBlock, TextBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.openai_like import OpenAILike
from pydantic import BaseModel
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


def model(name="GPT-5", token=TOKEN):
    return OpenAILike(
        api_base=BASE_URL,
        api_key=token,
        model=name,
        is_chat_model=True,
        is_function_calling_model=True,
        max_retries=0,
    )


class Person(BaseModel):
    """A person."""

    name: str
    age: int


def get_weather(city: str) -> str:
    """The weather in a city."""
    return DEGREES[city]


weather = FunctionTool.from_defaults(get_weather)


def user(text):
    return ChatMessage(role="user", content=text)


def plain():
    return model().complete(HELLO).text


def stream(name="GPT-5"):
    return [chunk.delta for chunk in model(name).stream_chat([user(HELLO)])]


def silence():
    return stream("Slow")


def usage():
    whole = model().chat([user(HELLO)]).raw.usage
    *_, last = model().stream_chat([user(HELLO)], stream_options={"include_usage": True})
    return [[one.prompt_tokens, one.completion_tokens, one.total_tokens] for one in (whole, last.raw.usage)]


def conversation():
    rule = ChatMessage(role="system", content=RULE)
    answer = ChatMessage(role="assistant", content="Hello yourself")
    return model().chat([rule, user(HELLO), answer, user(REPEAT_ALL)]).message.content


def wrong_token():
    return error_of(lambda: model(token="wrong").complete(HELLO))


def unknown_model():
    return error_of(lambda: model("Nobody").complete(HELLO))


def broken_stream():
    pieces = []

    def read():
        for chunk in model("Fragile").stream_chat([user(HELLO)]):
            pieces.append(chunk.delta)

    return {**error_of(read), "text": "".join(pieces)}


def tools(question=ONE_CITY):
    llm, history = model(), [user(question)]
    asked = llm.chat_with_tools([weather], chat_history=history, allow_parallel_tool_calls=True)
    calls = llm.get_tool_calls_from_response(asked)
    results = [
        ChatMessage(
            role="tool",
            content=str(weather(**call.tool_kwargs)),
            additional_kwargs={"tool_call_id": call.tool_id},
        )
        for call in calls
    ]
    answer = llm.chat_with_tools([weather], chat_history=[*history, asked.message, *results])
    return {
        "calls": [[call.tool_name, call.tool_kwargs] for call in calls],
        "finish": asked.raw.choices[0].finish_reason,
        "answer": answer.message.content,
    }


def parallel_tools():
    return tools(TWO_CITIES)


def streamed_tools():
    llm = model()
    chunks = list(llm.stream_chat_with_tools([weather], user_msg=TWO_CITIES, allow_parallel_tool_calls=True))
    calls = llm.get_tool_calls_from_response(chunks[-1])
    return {
        "calls": [[call.tool_name, call.tool_kwargs] for call in calls],
        "ids": [call.tool_id for call in calls],
        "finish": chunks[-1].raw.choices[0].finish_reason,
    }


def structured():
    return json.loads(model().as_structured_llm(Person).complete(PERSON).text)


def _thought_in(message):
    return "".join(block.content for block in message.blocks if isinstance(block, ThinkingBlock))


def reasoning():
    message = model("Thinker").chat([user(HELLO)]).message
    return {"thought": _thought_in(message), "answer": message.content}


def streamed_reasoning():
    chunks = list(model("Thinker").stream_chat([user(HELLO)]))
    thought = "".join(chunk.additional_kwargs.get("thinking_delta") or "" for chunk in chunks)
    return {"thought": thought, "answer": "".join(chunk.delta for chunk in chunks)}


def thoughts_and_a_call():
    llm = model("Thinker")
    *_, last = llm.stream_chat_with_tools([weather], user_msg=ONE_CITY)
    calls = [[call.tool_name, call.tool_kwargs] for call in llm.get_tool_calls_from_response(last)]
    return {"thought": _thought_in(last.message), "calls": calls}


def image():
    picture = ImageBlock(image=base64.b64decode(PNG_BASE64), image_mimetype="image/png")
    message = ChatMessage(role="user", blocks=[TextBlock(text="What is this?"), picture])
    return model().chat([message]).message.content


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
    reasoning=reasoning,
    streamed_reasoning=streamed_reasoning,
    thoughts_and_a_call=thoughts_and_a_call,
    image=image,
)
