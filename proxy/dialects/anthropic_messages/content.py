"""Content blocks in core's terms. Pure.

What only Anthropic's models can read becomes words: documents that are texts, results of searches, and the calls of
tools that Anthropic ran for an earlier answer.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import orjson

from proxy.core.chat_request import Content, File, Image, Part, Text, Thinking, ToolCall, ToolResult
from proxy.core.failures import UnsupportedFeature
from proxy.core.tool_names import fitting_name
from proxy.dialects.anthropic_messages import blocks as wire
from proxy.dialects.anthropic_messages.caching import cache_time
from proxy.dialects.anthropic_messages.thoughts import SIGNATURE
from proxy.dialects.anthropic_messages.tools import ToolChanges

#: What Anthropic's servers add to results for themselves alone.
_SEALED: Final = ("encrypted_content", "encrypted_stdout", "encrypted_index")
#: Blocks that say nothing to a model.
_SILENT: Final = ("fallback", "mcp_tool_listing")


class ContentReader:
    """Reads the blocks of a conversation, and notes what they say of tools.

    Attributes:
        changes: how the conversation changed the tools that are offered.
    """

    def __init__(self) -> None:
        self.changes = ToolChanges()

    def parts(self, content: "str | Sequence[wire.Block]", path: str) -> list[Part]:
        """The parts of a message.

        Args:
            content: blocks, or a text.
            path: where it stands, such as ``messages.2.content``.

        Raises:
            UnsupportedFeature: a file is at Anthropic.
        """
        if isinstance(content, str):
            return [Text(content)]
        return [part for at, block in enumerate(content) for part in self._parts(block, f"{path}.{at}")]

    def _parts(self, block: wire.Block, path: str) -> Iterator[Part]:
        if block["type"] == "text":
            yield Text(block["text"], cache_time(block))
        elif block["type"] == "tool_use":
            yield ToolCall(block["id"], fitting_name(block["name"]), orjson.dumps(block["input"]).decode())
        elif block["type"] == "tool_result":
            yield self._result(block, f"{path}.tool_result")
        elif block["type"] == "thinking":
            if (signature := block.get("signature") or "") != SIGNATURE:
                yield Thinking(block["thinking"], signature)
        elif block["type"] == "redacted_thinking":
            yield Thinking("", block["data"], redacted=True)
        elif block["type"] == "tool_addition" or block["type"] == "tool_removal":
            self.changes.note(block, path)
        elif block["type"] == "image" or block["type"] == "document" or block["type"] == "search_result":
            yield from _contents(block, path)
        else:
            yield from _in_words(block)

    def _result(self, block: wire.ToolResultBlock, path: str) -> ToolResult:
        content = block.get("content") or ""
        contents: list[Content] = [Text(content)] if isinstance(content, str) else []
        for at, inner in enumerate(() if isinstance(content, str) else content):
            if inner["type"] == "tool_reference":
                self.changes.found.add(inner["tool_name"])
                contents.append(Text(f"The tool {fitting_name(inner['tool_name'])} can be called now."))
            else:
                contents += _contents(inner, f"{path}.content.{at}")
        is_error = bool(block.get("is_error"))
        return ToolResult(block["tool_use_id"], contents, f"{path}.tool_use_id", is_error, cache_time(block))


_Content = wire.TextBlock | wire.ImageBlock | wire.DocumentBlock | wire.SearchResultBlock


def _contents(block: _Content, path: str) -> Iterator[Content]:
    path, cache = f"{path}.{block['type']}", cache_time(block)
    if block["type"] == "text":
        yield Text(block["text"], cache)
    elif block["type"] == "image":
        yield Image(_url(block["source"], f"{path}.source"), f"{path}.source", cache)
    elif block["type"] == "search_result":
        texts = [text["text"] for text in block["content"]]
        yield Text("\n".join([f"[Search result: {block['title']} ({block['source']})]", *texts]), cache)
    else:
        yield from _document(block, f"{path}.source")


def _document(block: wire.DocumentBlock, path: str) -> Iterator[Content]:
    source, title, context = block["source"], block.get("title") or "", block.get("context")
    if source["type"] != "text" and source["type"] != "content":
        if context:
            yield Text(f"[About the document {title}]\n{context}")
        yield File(_url(source, path), title, path, cache_time(block))
        return
    yield Text("\n".join([f"[Document: {title or 'without a title'}]", *([context] if context else [])]))
    inside = source["data"] if source["type"] == "text" else source["content"]
    if isinstance(inside, str):
        yield Text(inside, cache_time(block))
        return
    for at, inner in enumerate(inside):
        yield from _contents(inner, f"{path}.content.{at}")


def _url(source: wire.Base64Source | wire.UrlSource | wire.FileSource, path: str) -> str:
    """An http(s) or data URL."""
    if source["type"] == "base64":
        return f"data:{source['media_type']};base64,{source['data']}"
    if source["type"] == "url":
        return source["url"]
    raise UnsupportedFeature(f"{path}: Files that were uploaded to Anthropic are not supported.", param=path)


def _in_words(
    block: wire.ServerToolUseBlock | wire.ServerToolResultBlock | wire.CompactionBlock | wire.SilentBlock,
) -> Iterator[Text]:
    """What a model can read of blocks that only Anthropic's servers make."""
    if block["type"] == "server_tool_use" or block["type"] == "mcp_tool_use":
        yield Text(f"[I called {block['name']} with {orjson.dumps(block.get('input')).decode()}]")
    elif block["type"] == "compaction":
        yield Text(block.get("content") or "")
    elif block["type"] not in _SILENT:
        result = orjson.dumps(_unsealed(block.get("content"))).decode()
        yield Text(f"[Result of {block['type'].removesuffix('_tool_result')}]\n{result}")


def _unsealed(value: object) -> object:
    """``value`` without what only Anthropic's servers can read."""
    if isinstance(value, list):
        return [_unsealed(one) for one in value]
    if isinstance(value, dict):
        return {name: _unsealed(inner) for name, inner in value.items() if name not in _SEALED}
    return value
