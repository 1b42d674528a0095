"""Legacy completions as chats: at Poe there is nothing else. Pure."""

from typing import Final

from proxy.core.failures import UnsupportedFeature
from proxy.dialects.bodies.validation import parse_fields
from proxy.dialects.openai_chat.request import ChatCompletionRequest
from proxy.dialects.openai_completions.request import CompletionRequest

#: Longest prompt that is sent back, once for each choice.
_MAX_ECHOED_CHARACTERS: Final = 100_000


def chat_of_completion(request: CompletionRequest) -> ChatCompletionRequest:
    """A legacy completion as a chat with one message.

    Raises:
        UnsupportedFeature: the request needs what a chat cannot do.
    """
    prompt = request.prompt
    if isinstance(prompt, list):
        if len(prompt) != 1 or not isinstance(prompt[0], str):
            raise UnsupportedFeature("One prompt at a time, as text, is supported.", param="prompt")
        prompt = prompt[0]
    if request.echo and len(prompt) > _MAX_ECHOED_CHARACTERS:
        raise UnsupportedFeature(
            f"At most {_MAX_ECHOED_CHARACTERS} characters are echoed: 'prompt' is too long for 'echo'.", param="echo"
        )
    if request.suffix:
        raise UnsupportedFeature("'suffix' is not supported.", param="suffix")
    if request.best_of is not None and request.best_of > (request.n or 1):
        raise UnsupportedFeature("'best_of' is not supported.", param="best_of")
    if request.logprobs:
        raise UnsupportedFeature("Poe gives no log probabilities.", param="logprobs")
    same = ("model", "max_tokens", "n", "stop", "stream", "stream_options", "temperature", "top_p", "logit_bias")
    fields = {name: getattr(request, name) for name in same}
    messages = [{"role": "user", "content": prompt}]
    return parse_fields(ChatCompletionRequest, {**(request.model_extra or {}), **fields, "messages": messages})
