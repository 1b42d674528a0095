"""Legacy completions in core's terms: a chat with one message. Pure."""

from typing import Final, NamedTuple

from proxy.core.chat_request import ChatRequest, Message, Text
from proxy.core.failures import UnsupportedFeature
from proxy.dialects.openai.chat_options import build_request, includes_usage
from proxy.dialects.openai_completions.request import COMPLETION_BODY, CompletionBody

#: Longest prompt that is sent back, once for each choice.
_MAX_ECHOED_CHARACTERS: Final = 100_000


class ParsedCompletion(NamedTuple):
    """A request, and how to write its answer.

    Attributes:
        include_usage: whether the last chunk of a stream has the token counts.
        echo: the prompt, if it is to be repeated before each choice's text, else "".
    """

    request: ChatRequest
    include_usage: bool
    echo: str


def parse_completion_request(body: bytes, *, large: bool | None = None) -> ParsedCompletion:
    """Parses a body; ``large`` as in ``BodyReader.read``.

    Raises:
        InvalidRequest: a field is wrong or missing.
        UnsupportedFeature: a chat has no counterpart for a field.
    """
    fields = COMPLETION_BODY.read(body, large=large)
    prompt = _prompt(fields)
    more = COMPLETION_BODY.unknown(fields)
    request = build_request(fields, [Message("user", [Text(prompt)])], more)
    request.options.logprobs = bool(fields.get("logprobs"))
    return ParsedCompletion(request, includes_usage(fields), prompt if fields.get("echo") else "")


def _prompt(fields: CompletionBody) -> str:
    prompt = fields["prompt"]
    if isinstance(prompt, list):
        if len(prompt) != 1 or not isinstance(prompt[0], str):
            raise UnsupportedFeature("One prompt at a time, as text, is supported.", param="prompt")
        prompt = prompt[0]
    if fields.get("echo") and len(prompt) > _MAX_ECHOED_CHARACTERS:
        raise UnsupportedFeature(
            f"At most {_MAX_ECHOED_CHARACTERS} characters are echoed: 'prompt' is too long for 'echo'.", param="echo"
        )
    if fields.get("suffix"):
        raise UnsupportedFeature("'suffix' is not supported.", param="suffix")
    if (fields.get("best_of") or 1) > (fields.get("n") or 1):
        raise UnsupportedFeature("'best_of' is not supported.", param="best_of")
    return prompt
