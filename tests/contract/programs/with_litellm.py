"""LiteLLM as a library."""

import json

import litellm
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
    WEATHER_TOOL,
    error_of,
    report,
)

litellm.suppress_debug_info = True


class Person(BaseModel):
    name: str
    age: int


def complete(content, model="GPT-5", token=TOKEN, **options):
    messages = content if isinstance(content, list) else [user(content)]
    return litellm.completion(
        model=f"openai/{model}", api_base=BASE_URL, api_key=token, messages=messages, num_retries=0, **options
    )


def user(content):
    return {"role": "user", "content": content}


def plain():
    return complete(HELLO).choices[0].message.content


def stream(model="GPT-5"):
    return [chunk.choices[0].delta.content or "" for chunk in complete(HELLO, model=model, stream=True)]


def silence():
    return stream("Slow")


def usage():
    whole = complete(HELLO).usage
    *_, last = complete(HELLO, stream=True, stream_options={"include_usage": True})
    return [[one.prompt_tokens, one.completion_tokens, one.total_tokens] for one in (whole, last.usage)]


def conversation():
    answer = {"role": "assistant", "content": "Hello yourself"}
    messages = [{"role": "system", "content": RULE}, user(HELLO), answer, user(REPEAT_ALL)]
    return complete(messages).choices[0].message.content


def wrong_token():
    return error_of(lambda: complete(HELLO, token="wrong"))


def unknown_model():
    return error_of(lambda: complete(HELLO, model="Nobody"))


def broken_stream():
    pieces = []

    def read():
        for chunk in complete(HELLO, model="Fragile", stream=True):
            pieces.append(chunk.choices[0].delta.content or "")

    return {**error_of(read), "text": "".join(pieces)}


def tools(question=ONE_CITY):
    messages = [user(question)]
    asked = complete(messages, tools=[WEATHER_TOOL]).choices[0]
    calls = asked.message.tool_calls
    results = [
        {"role": "tool", "tool_call_id": call.id, "content": DEGREES[json.loads(call.function.arguments)["city"]]}
        for call in calls
    ]
    answer = complete([*messages, asked.message, *results], tools=[WEATHER_TOOL])
    return {
        "calls": [[call.function.name, json.loads(call.function.arguments)] for call in calls],
        "finish": asked.finish_reason,
        "answer": answer.choices[0].message.content,
    }


def parallel_tools():
    return tools(TWO_CITIES)


def streamed_tools():
    chunks = list(complete(TWO_CITIES, tools=[WEATHER_TOOL], stream=True))
    whole = litellm.stream_chunk_builder(chunks).choices[0]
    calls = whole.message.tool_calls
    return {
        "calls": [[call.function.name, json.loads(call.function.arguments)] for call in calls],
        "ids": [call.id for call in calls],
        "finish": whole.finish_reason,
    }


def structured():
    return json.loads(complete(PERSON, response_format=Person).choices[0].message.content)


def reasoning():
    message = complete(HELLO, model="Thinker").choices[0].message
    return {"thought": message.reasoning_content, "answer": message.content}


def streamed_reasoning():
    deltas = [chunk.choices[0].delta for chunk in complete(HELLO, model="Thinker", stream=True)]
    return {
        "thought": "".join(getattr(delta, "reasoning_content", None) or "" for delta in deltas),
        "answer": "".join(delta.content or "" for delta in deltas),
    }


def thoughts_and_a_call():
    chunks = list(complete(ONE_CITY, model="Thinker", tools=[WEATHER_TOOL], stream=True))
    message = litellm.stream_chunk_builder(chunks).choices[0].message
    calls = [[call.function.name, json.loads(call.function.arguments)] for call in message.tool_calls]
    return {"thought": message.reasoning_content, "calls": calls}


def image():
    picture = {"type": "image_url", "image_url": {"url": PNG_URL}}
    return complete([user([{"type": "text", "text": "What is this?"}, picture])]).choices[0].message.content


def picture():
    made = litellm.image_generation(
        model="openai/GPT-Image-1",
        prompt="A red pixel",
        api_base=BASE_URL,
        api_key=TOKEN,
        extra_body={"response_format": "b64_json"},
    )
    return made.data[0].b64_json


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
    picture=picture,
)
