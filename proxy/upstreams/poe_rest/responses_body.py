"""Bodies for Poe's ``POST /v1/responses``, which is OpenAI's Responses API with gaps. Pure.

Poe ignores ``instructions``, so that they are messages, and stores nothing. What Responses has no place for is left
out: stop sequences (whoever reads the answer ends it there), ``seed``, penalties, ``logit_bias``.
"""

from collections.abc import Sequence
from typing import Any, Final

from proxy.answer.json_format import JsonFormat
from proxy.core.chat_request import ChatRequest, Message, Options, Text, Thinking
from proxy.upstreams.poe.efforts import nearest_level
from proxy.upstreams.poe.json_text import written_json
from proxy.upstreams.poe.refusals import refuse_audio, refuse_log_probabilities
from proxy.upstreams.poe_rest.responses_format import build_text_options
from proxy.upstreams.poe_rest.responses_input import build_input, instruction
from proxy.upstreams.poe_rest.responses_tools import build_tools

#: OpenAI refuses a lower limit.
_LEAST_TOKENS: Final = 16
_THOUGHTS: Final = "reasoning.encrypted_content"


def build_responses_body(request: ChatRequest, *, model: str, stream: bool, efforts: Sequence[object] = ()) -> bytes:
    """The JSON body of a request. In a thread when it is large.

    Args:
        request: what the client asks for.
        model: as Poe calls it.
        stream: whether the answer is to come in pieces.
        efforts: the model's levels of effort; empty where they are not known.

    Raises:
        UnsupportedFeature: the request needs what the API does not have.
        InvalidRequest: a file or a result makes no sense.
    """
    options = request.options
    refuse_log_probabilities(options)
    refuse_audio(options)
    body = {
        "model": model,
        "input": [*_words_for_json(request), *build_input(request)],
        "store": False,
        **({"stream": True} if stream else {}),
        **build_tools(request),
        **build_text_options(options),
        **_limits(options),
        **_reasoning(request, efforts),
    }
    return written_json(body)


def _words_for_json(request: ChatRequest) -> list[dict[str, Any]]:
    """What to tell the model where an object is asked for and no message says so, which OpenAI refuses."""
    wanted = request.options.json_answer
    if wanted is None or wanted.schema is not None or any(_says_json(message) for message in request.messages):
        return []
    return [instruction(JsonFormat(wanted).instruction)]


def _says_json(message: Message) -> bool:
    return any(isinstance(part, Text) and "json" in part.text.lower() for part in message.parts)


def _limits(options: Options) -> dict[str, Any]:
    """How freely, and how much, the model may write."""
    limits = [limit for limit in (options.max_tokens, options.max_visible_tokens) if limit is not None]
    fields = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "max_output_tokens": max(min(limits), _LEAST_TOKENS) if limits else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _reasoning(request: ChatRequest, efforts: Sequence[object]) -> dict[str, Any]:
    """How much the model thinks, and that its thoughts come in a form in which they can come back.

    A model that does not think refuses to be asked for them: they are asked for with an effort, or when some came back.
    """
    effort: object = request.options.reasoning_effort
    if effort and efforts:
        effort = nearest_level(str(effort), efforts)
    fields: dict[str, Any] = {"reasoning": {"effort": effort, "summary": "auto"}} if effort else {}
    if effort not in (None, "", "none") or any(map(_has_thoughts, request.messages)):
        fields["include"] = [_THOUGHTS]
    return fields


def _has_thoughts(message: Message) -> bool:
    return any(isinstance(part, Thinking) and part.signature for part in message.parts)
