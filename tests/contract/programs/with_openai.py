"""OpenAI's own library, synchronous."""

import json

from openai import OpenAI
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

client = OpenAI(base_url=BASE_URL, api_key=TOKEN, max_retries=0)


class Person(BaseModel):
    name: str
    age: int


def user(text):
    return {"role": "user", "content": text}


def plain():
    return client.chat.completions.create(model="GPT-5", messages=[user(HELLO)]).choices[0].message.content


def stream(model="GPT-5"):
    chunks = client.chat.completions.create(model=model, messages=[user(HELLO)], stream=True)
    return [chunk.choices[0].delta.content or "" for chunk in chunks]


def silence():
    return stream("Slow")


def usage():
    whole = client.chat.completions.create(model="GPT-5", messages=[user(HELLO)]).usage
    *_, last = client.chat.completions.create(
        model="GPT-5", messages=[user(HELLO)], stream=True, stream_options={"include_usage": True}
    )
    return [[one.prompt_tokens, one.completion_tokens, one.total_tokens] for one in (whole, last.usage)]


def conversation():
    answer = {"role": "assistant", "content": "Hello yourself"}
    messages = [{"role": "system", "content": RULE}, user(HELLO), answer, user(REPEAT_ALL)]
    return client.chat.completions.create(model="GPT-5", messages=messages).choices[0].message.content


def wrong_token():
    stranger = OpenAI(base_url=BASE_URL, api_key="wrong", max_retries=0)
    return error_of(lambda: stranger.chat.completions.create(model="GPT-5", messages=[user(HELLO)]))


def unknown_model():
    return error_of(lambda: client.chat.completions.create(model="Nobody", messages=[user(HELLO)]))


def broken_stream():
    pieces = []

    def read():
        for chunk in client.chat.completions.create(model="Fragile", messages=[user(HELLO)], stream=True):
            pieces.append(chunk.choices[0].delta.content or "")

    return {**error_of(read), "text": "".join(pieces)}


def tools(question=ONE_CITY):
    messages = [user(question)]
    asked = client.chat.completions.create(model="GPT-5", messages=messages, tools=[WEATHER_TOOL]).choices[0]
    messages.append(asked.message.model_dump(exclude_none=True))
    calls = asked.message.tool_calls
    for call in calls:
        city = json.loads(call.function.arguments)["city"]
        messages.append({"role": "tool", "tool_call_id": call.id, "content": DEGREES[city]})
    answer = client.chat.completions.create(model="GPT-5", messages=messages, tools=[WEATHER_TOOL])
    return {
        "calls": [[call.function.name, json.loads(call.function.arguments)] for call in calls],
        "finish": asked.finish_reason,
        "answer": answer.choices[0].message.content,
    }


def parallel_tools():
    return tools(TWO_CITIES)


def streamed_tools():
    with client.chat.completions.stream(model="GPT-5", messages=[user(TWO_CITIES)], tools=[WEATHER_TOOL]) as events:
        done = [event for event in events if event.type == "tool_calls.function.arguments.done"]
        final = events.get_final_completion().choices[0]
    return {
        "calls": [[event.name, json.loads(event.arguments)] for event in done],
        "ids": [call.id for call in final.message.tool_calls],
        "finish": final.finish_reason,
    }


def structured():
    answer = client.chat.completions.parse(model="GPT-5", messages=[user(PERSON)], response_format=Person)
    return answer.choices[0].message.parsed.model_dump()


def reasoning():
    message = client.chat.completions.create(model="Thinker", messages=[user(HELLO)]).choices[0].message
    return {"thought": message.reasoning_content, "answer": message.content}


def streamed_reasoning():
    thought, answer = [], []
    for chunk in client.chat.completions.create(model="Thinker", messages=[user(HELLO)], stream=True):
        delta = chunk.choices[0].delta
        thought.append(getattr(delta, "reasoning_content", None) or "")
        answer.append(delta.content or "")
    return {"thought": "".join(thought), "answer": "".join(answer)}


def thoughts_and_a_call():
    with client.chat.completions.stream(model="Thinker", messages=[user(ONE_CITY)], tools=[WEATHER_TOOL]) as events:
        thought = "".join(
            getattr(event.chunk.choices[0].delta, "reasoning_content", None) or ""
            for event in events
            if event.type == "chunk"
        )
        [call] = events.get_final_completion().choices[0].message.tool_calls
    return {"thought": thought, "calls": [[call.function.name, json.loads(call.function.arguments)]]}


def image():
    parts = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": PNG_URL}}]
    message = {"role": "user", "content": parts}
    return client.chat.completions.create(model="GPT-5", messages=[message]).choices[0].message.content


def picture():
    return (
        client.images.generate(model="GPT-Image-1", prompt="A red pixel", response_format="b64_json").data[0].b64_json
    )


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
