"""Requests as bodies of Poe's ``/v1/messages``, which is Anthropic's Messages API. Pure.

Shapes: https://docs.anthropic.com/en/api/messages. Left out, since Anthropic has nothing like them: penalties, seeds,
biases, and how strictly a function's schema is meant. JSON answers are asked for elsewhere.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from proxy.core.chat_request import ChatRequest, CustomTool, Options
from proxy.upstreams.poe.json_text import written_json
from proxy.upstreams.poe.refusals import refuse_audio, refuse_log_probabilities
from proxy.upstreams.poe_rest.messages_caching import mark_for_caching
from proxy.upstreams.poe_rest.messages_thinking import build_thinking
from proxy.upstreams.poe_rest.messages_tools import build_offer
from proxy.upstreams.poe_rest.messages_turns import read_conversation

#: The default, and the largest that Anthropic takes.
_MAX_TEMPERATURE: Final = 1.0
#: The smallest ``top_p`` that it takes with thinking.
_LEAST_TOP_P: Final = 0.95


def build_messages_body(
    request: ChatRequest, *, model: str, stream: bool, max_tokens: int, cache: bool, efforts: Sequence[object] = ()
) -> bytes:
    """The JSON body of a request.

    Args:
        request: what the client asks for.
        model: as Poe calls it.
        stream: whether the answer is to come in pieces.
        max_tokens: the longest answer that the model gives.
        cache: whether to have the prompt cached where the client does not say.
        efforts: the model's levels of effort; empty for one that takes a number of tokens to think with.

    Raises:
        UnsupportedFeature: the request needs what Anthropic does not have.
        InvalidRequest: something in it makes no sense.
    """
    options = request.options
    refuse_log_probabilities(options)
    refuse_audio(options)
    custom_tools = {tool.name for tool in request.tools if isinstance(tool, CustomTool)}
    conversation = read_conversation(request.messages, custom_tools)
    offer = build_offer(request, conversation.called)
    thinking = build_thinking(
        options, conversation.turns, max_tokens=max_tokens, efforts=efforts, is_forced=offer.is_forced
    )
    mark_for_caching(offer.tools, conversation, cache=cache)
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": thinking.max_tokens,
        "system": conversation.system,
        "messages": conversation.turns,
        "tools": [orjson.Fragment(written_json(tool)) for tool in offer.tools],
        "tool_choice": offer.choice,
        "stop_sequences": [stop for stop in options.stops if stop.strip()],
        **thinking.fields,
        **_sampling(options, is_thinking=thinking.is_on),
        "stream": stream,
    }
    return orjson.dumps({name: value for name, value in body.items() if value not in ([], None)})


def _sampling(options: Options, *, is_thinking: bool) -> dict[str, float]:
    """How the model chooses its words: by temperature or by ``top_p``, which newer models refuse together.

    What is the default is left out: some models take nothing else.
    """
    temperature, top_p = options.temperature, options.top_p
    if is_thinking:
        return {"top_p": top_p} if top_p is not None and _LEAST_TOP_P <= top_p < 1 else {}
    chosen: dict[str, float] = {}
    if temperature is not None and temperature < _MAX_TEMPERATURE:
        chosen["temperature"] = temperature
    elif top_p is not None and top_p < 1:
        chosen["top_p"] = top_p
    if options.top_k:
        chosen["top_k"] = options.top_k
    return chosen
