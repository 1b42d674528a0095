"""A client's request without a wire form. Dialects parse bodies into it, upstreams build their queries from it. Pure.

Messages of the ``system`` and the ``developer`` may stand anywhere. Calls and thoughts stand only in messages of the
``assistant``, results only in messages of role ``tool``: a dialect that mixes them splits its messages. An upstream
leaves out a part that it has no place for, or refuses it where that would change the meaning.

A part that an upstream may find wrong has a ``path``: its field as the client knows it, such as
``messages[3].content[0].image_url.url``, so that the error can name it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["system", "developer", "user", "assistant", "tool"]
#: How long an upstream should cache the prompt up to this part; "" leaves it to the upstream.
CacheTime = Literal["", "5m", "1h"]


@dataclass(slots=True)
class Text:
    """A text."""

    text: str
    cache: CacheTime = ""


@dataclass(slots=True)
class Image:
    """A picture: ``url`` is an http(s) or a data URL."""

    url: str
    path: str
    cache: CacheTime = ""


@dataclass(slots=True)
class Audio:
    """A recording in base64; ``format`` is the extension of such a file, for example ``mp3``."""

    data: str
    format: str
    path: str


@dataclass(slots=True)
class File:
    """A file: ``data`` is base64, a data URL or an http(s) URL; ``name`` may be ""."""

    data: str
    name: str
    path: str
    cache: CacheTime = ""


@dataclass(slots=True)
class Thinking:
    """Thoughts of an earlier answer. By its ``signature`` the model's provider checks that they are unchanged.

    ``redacted`` thoughts have no text: their provider keeps it to itself, in the signature.
    """

    text: str
    signature: str = ""
    redacted: bool = False


@dataclass(slots=True)
class ToolCall:
    """A call in an earlier answer. ``arguments`` is JSON as the model wrote it, or a custom tool's free text.

    ``signature`` came with the call, and goes back with it.
    """

    id: str
    name: str
    arguments: str
    signature: str = ""


@dataclass(slots=True)
class ToolResult:
    """The result of a call.

    Attributes:
        path: the field with the call's id.
        is_error: whether the tool failed; then the content says how.
    """

    call_id: str
    content: "Sequence[Content]"
    path: str
    is_error: bool = False
    cache: CacheTime = ""


Content = Text | Image | Audio | File
Part = Content | Thinking | ToolCall | ToolResult


@dataclass(slots=True)
class Message:
    """One turn of the conversation; ``name`` distinguishes speakers with the same role."""

    role: Role
    parts: Sequence[Part]
    name: str = ""


@dataclass(frozen=True, slots=True)
class FunctionTool:
    """A function that the model may call.

    Attributes:
        parameters: the JSON Schema of its arguments.
        more: the other fields of the definition, such as ``strict``.
    """

    name: str
    path: str
    description: str | None = None
    parameters: Mapping[str, Any] | None = None
    more: Mapping[str, Any] = field(default_factory=dict)
    cache: CacheTime = ""


@dataclass(frozen=True, slots=True)
class CustomTool:
    """A tool that takes free text; ``format`` may hold a grammar for it."""

    name: str
    path: str
    description: str | None = None
    format: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class HostedTool:
    """A tool that the upstream itself runs, such as ``web_search``; ``definition`` as the client wrote it."""

    type: str
    path: str
    definition: Mapping[str, Any] = field(default_factory=dict)


Tool = FunctionTool | CustomTool | HostedTool


@dataclass(frozen=True, slots=True)
class ChosenTool:
    """The one tool that the model must call; ``type`` is ``function``, ``custom``, or a hosted tool's."""

    type: str
    name: str


ToolChoice = Literal["auto", "none", "required"] | ChosenTool


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """The answer must be JSON: any object, or a value after ``schema``, which stands at ``path``."""

    path: str
    schema: dict[str, Any] | None = None
    name: str = ""
    description: str = ""


@dataclass(slots=True)
class Options:
    """How to answer; None leaves an option to the bot.

    Attributes:
        max_visible_tokens: limit on the tokens of text and calls.
        max_tokens: limit on the tokens of thoughts, text and calls.
        stops: sequences that end the answer and are not part of it.
        choices: number of answers.
        logit_bias: token id → −100 to 100.
        modalities: kinds of output that the client accepts: ``text``, ``audio``.
        image_size: width and height of pictures in pixels, such as ``1024x1024``.
        thinking_tokens: limit on the tokens of thoughts; 0 asks for none.
        more: fields that the dialect does not know; a bot may have a parameter with that name.
    """

    temperature: float | None = None
    top_p: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    max_visible_tokens: int | None = None
    max_tokens: int | None = None
    reasoning_effort: str | None = None
    thinking_tokens: int | None = None
    top_k: int | None = None
    json_answer: JsonAnswer | None = None
    stops: Sequence[str] = ()
    choices: int = 1
    logit_bias: Mapping[str, float] = field(default_factory=dict)
    logprobs: bool = False
    top_logprobs: int = 0
    modalities: Sequence[str] = ()
    image_size: str | None = None
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class ChatRequest:
    """One request.

    Attributes:
        model: as the client wrote it; None for the default.
        stream: whether the client wants the answer piece by piece.
        parallel_tool_calls: whether one answer may contain several calls.
        session_key: an id that all requests of one conversation share, when the client sends one.
    """

    messages: Sequence[Message]
    model: str | None = None
    stream: bool = False
    tools: Sequence[Tool] = ()
    tool_choice: ToolChoice = "auto"
    parallel_tool_calls: bool = True
    options: Options = field(default_factory=Options)
    session_key: str = ""
