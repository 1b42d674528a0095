"""Bodies for Poe's ``POST /v1/responses``, which is OpenAI's Responses API with gaps. Pure.

Poe ignores ``instructions``, so that they are messages, and stores nothing. What Responses has no place for is left
out: stop sequences (whoever reads the answer ends it there), ``seed``, penalties, ``logit_bias``.
"""

from typing import Any, Final

from proxy.core.chat_request import ChatRequest, Message, Options, Thinking
from proxy.core.failures import UnsupportedFeature
from proxy.upstreams.poe.json_text import written_json
from proxy.upstreams.poe_rest.responses_format import build_text_options
from proxy.upstreams.poe_rest.responses_input import build_input
from proxy.upstreams.poe_rest.responses_tools import build_tools

#: OpenAI refuses a lower limit.
_LEAST_TOKENS: Final = 16
_THOUGHTS: Final = "reasoning.encrypted_content"


def build_responses_body(request: ChatRequest, *, model: str, stream: bool) -> bytes:
    """The body that asks ``model`` for an answer to this request.

    In a thread when it is large.

    Raises:
        UnsupportedFeature: the request needs what the API does not have.
        InvalidRequest: a file or a result makes no sense.
    """
    options = request.options
    if options.logprobs or options.top_logprobs:
        raise UnsupportedFeature("Log probabilities are not supported for this model.", param="logprobs")
    body = {
        "model": model,
        "input": build_input(request),
        "store": False,
        **({"stream": True} if stream else {}),
        **build_tools(request),
        **build_text_options(options),
        **_limits(options),
        **_reasoning(request),
    }
    return written_json(body)


def _limits(options: Options) -> dict[str, Any]:
    """How freely, and how much, the model may write."""
    limits = [limit for limit in (options.max_tokens, options.max_visible_tokens) if limit is not None]
    fields = {
        "temperature": options.temperature,
        "top_p": options.top_p,
        "max_output_tokens": max(min(limits), _LEAST_TOKENS) if limits else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _reasoning(request: ChatRequest) -> dict[str, Any]:
    """How much the model thinks, and that its thoughts come in a form in which they can come back.

    A model that does not think refuses to be asked for them: they are asked for with an effort, or when some came back.
    """
    effort = request.options.reasoning_effort
    fields: dict[str, Any] = {"reasoning": {"effort": effort, "summary": "auto"}} if effort else {}
    if effort not in (None, "", "none") or any(map(_has_thoughts, request.messages)):
        fields["include"] = [_THOUGHTS]
    return fields


def _has_thoughts(message: Message) -> bool:
    return any(isinstance(part, Thinking) and part.signature for part in message.parts)
