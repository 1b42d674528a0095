"""OpenAI chat requests as Poe queries. Pure; says plainly what cannot be carried over."""

from proxy.errors import InvalidRequest, UnsupportedFeature
from proxy.openai_api.request import ChatCompletionRequest, ChatMessage, ContentPart
from proxy.poe_api.query import Message, Query

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "bot"}


def build_query(request: ChatCompletionRequest) -> Query:
    """What to ask the bot.

    ``top_p``, ``seed``, ``user``, the penalties and the token limits have no place in Poe's protocol and are
    left out.

    Raises:
        UnsupportedFeature: the request needs tools, pictures, several choices or log probabilities.
        InvalidRequest: a message has no content.
    """
    _refuse_unsupported(request)
    return Query(
        messages=[_message(position, message) for position, message in enumerate(request.messages)],
        temperature=request.temperature,
        stop_sequences=_stop_sequences(request),
        logit_bias=request.logit_bias or {},
    )


def _refuse_unsupported(request: ChatCompletionRequest) -> None:
    for param in ("tools", "functions", "logprobs"):
        if getattr(request, param):
            raise UnsupportedFeature(f"'{param}' is not supported.", param=param)
    if request.n is not None and request.n > 1:
        raise UnsupportedFeature("Only one choice ('n': 1) is supported.", param="n")


def _message(position: int, message: ChatMessage) -> Message:
    param = f"messages[{position}]"
    if message.tool_calls or message.role not in _ROLES:
        raise UnsupportedFeature("Tool calls and their results are not supported.", param=param)
    content = message.content
    if isinstance(content, list):
        content = "\n".join(_text_of(part, f"{param}.content[{at}]") for at, part in enumerate(content))
    if content is None and message.role != "assistant":
        raise InvalidRequest(f"Invalid value for '{param}.content': must not be null.", param=f"{param}.content")
    return Message(role=_ROLES[message.role], content=content or "")  # type: ignore[arg-type]  # the values are Poe's roles


def _text_of(part: ContentPart, param: str) -> str:
    if part.type not in ("text", "refusal"):
        raise UnsupportedFeature(f"Content of type '{part.type[:40]}' is not supported.", param=param)
    text = part.text if part.type == "text" else part.refusal
    if text is None:
        raise InvalidRequest(f"Missing required parameter: '{param}.{part.type}'.", param=f"{param}.{part.type}")
    return text


def _stop_sequences(request: ChatCompletionRequest) -> list[str]:
    """Poe takes only sequences that are not blank."""
    stop = [request.stop] if isinstance(request.stop, str) else request.stop or []
    return [sequence for sequence in stop if sequence.strip()]
