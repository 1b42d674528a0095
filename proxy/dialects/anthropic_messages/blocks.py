"""Content blocks as clients send them: known fields are checked strictly.

Shapes: https://docs.anthropic.com/en/api/messages. Hints for caching are no field of anyone's but Anthropic's; a wrong
one is no fault.
"""

from typing import Annotated, Any, Literal, Required

from pydantic import Field
from typing_extensions import TypedDict

from proxy.dialects.bodies.validation import open_object, strict_object

CallId = Annotated[str, Field(min_length=1, max_length=512)]
#: The name of a tool. Anthropic takes up to 64 of A-Z a-z 0-9 _ -; some clients use dots, and longer ones.
ToolName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_.-]+$")]
Title = Annotated[str, Field(max_length=2_000)]


class _Block(TypedDict, total=False):
    """What every block may have."""

    cache_control: Any


@strict_object
class TextBlock(_Block, total=False):
    """A text."""

    type: Required[Literal["text"]]
    text: Required[str]


@strict_object
class Base64Source(TypedDict):
    """A file within the request."""

    type: Literal["base64"]
    media_type: Annotated[str, Field(max_length=128, pattern=r"^[\w.+-]+/[\w.+-]+$")]
    data: str


@strict_object
class UrlSource(TypedDict):
    """A file elsewhere."""

    type: Literal["url"]
    url: str


@strict_object
class TextSource(TypedDict):
    """A document that is a text."""

    type: Literal["text"]
    data: str


@strict_object
class FileSource(TypedDict):
    """A file that was uploaded to Anthropic."""

    type: Literal["file"]
    file_id: str


@strict_object
class ImageBlock(_Block, total=False):
    """A picture."""

    type: Required[Literal["image"]]
    source: Required[Annotated[Base64Source | UrlSource | FileSource, Field(discriminator="type")]]


@strict_object
class ContentSource(TypedDict):
    """A document that is made of texts and pictures."""

    type: Literal["content"]
    content: (
        str
        | Annotated[
            list[Annotated[TextBlock | ImageBlock, Field(discriminator="type")]],
            Field(max_length=1_000, fail_fast=True),
        ]
    )


@strict_object
class DocumentBlock(_Block, total=False):
    """A PDF, or a text."""

    type: Required[Literal["document"]]
    source: Required[
        Annotated[Base64Source | UrlSource | TextSource | ContentSource | FileSource, Field(discriminator="type")]
    ]
    title: Title | None
    context: str | None


@strict_object
class SearchResultBlock(_Block, total=False):
    """What a search of the client's found."""

    type: Required[Literal["search_result"]]
    source: Required[Title]
    title: Required[Title]
    content: Required[Annotated[list[TextBlock], Field(max_length=1_000, fail_fast=True)]]


@strict_object
class ToolReferenceBlock(_Block, total=False):
    """The name of a tool that was not offered before."""

    type: Required[Literal["tool_reference"]]
    tool_name: Required[str]


ResultContent = Annotated[
    TextBlock | ImageBlock | DocumentBlock | SearchResultBlock | ToolReferenceBlock, Field(discriminator="type")
]


@strict_object
class ToolResultBlock(_Block, total=False):
    """What a tool gave back."""

    type: Required[Literal["tool_result"]]
    tool_use_id: Required[CallId]
    content: str | Annotated[list[ResultContent], Field(max_length=1_000, fail_fast=True)] | None
    is_error: bool | None


@strict_object
class ToolUseBlock(_Block, total=False):
    """A call that an earlier answer made."""

    type: Required[Literal["tool_use"]]
    id: Required[CallId]
    name: Required[Annotated[str, Field(min_length=1, max_length=512)]]
    input: Required[dict[str, Any]]


@strict_object
class ThinkingBlock(TypedDict, total=False):
    """What a model thought, with its signature."""

    type: Required[Literal["thinking"]]
    thinking: Required[str]
    signature: str | None


@strict_object
class RedactedThinkingBlock(TypedDict, total=False):
    """Thoughts that Anthropic alone can read."""

    type: Required[Literal["redacted_thinking"]]
    data: Required[str]


@strict_object
class ServerToolUseBlock(_Block, total=False):
    """A call of a tool that Anthropic ran."""

    type: Required[Literal["server_tool_use", "mcp_tool_use"]]
    name: Required[str]
    input: Any


@strict_object
class ServerToolResultBlock(_Block, total=False):
    """What such a tool gave back."""

    type: Required[
        Literal[
            "web_search_tool_result",
            "web_fetch_tool_result",
            "code_execution_tool_result",
            "bash_code_execution_tool_result",
            "text_editor_code_execution_tool_result",
            "tool_search_tool_result",
            "advisor_tool_result",
            "mcp_tool_result",
        ]
    ]
    content: Any


@strict_object
class CompactionBlock(_Block, total=False):
    """What is left of a conversation that became too long."""

    type: Required[Literal["compaction"]]
    content: str | None


@open_object
class ToolChange(TypedDict, total=False):
    """Which tool comes or goes: one of ``tools`` by its name, or a definition."""

    type: Required[str]
    name: str | None
    definition: dict[str, Any] | None


@strict_object
class ToolChangeBlock(_Block, total=False):
    """A tool that is offered from here on, or not any more."""

    type: Required[Literal["tool_addition", "tool_removal"]]
    tool: Required[ToolChange]


@strict_object
class SilentBlock(_Block, total=False):
    """What says nothing to a model: notes of Anthropic's servers."""

    type: Required[Literal["fallback", "mcp_tool_listing"]]


Block = Annotated[
    TextBlock
    | ImageBlock
    | DocumentBlock
    | SearchResultBlock
    | ToolUseBlock
    | ToolResultBlock
    | ThinkingBlock
    | RedactedThinkingBlock
    | ServerToolUseBlock
    | ServerToolResultBlock
    | CompactionBlock
    | ToolChangeBlock
    | SilentBlock,
    Field(discriminator="type"),
]
