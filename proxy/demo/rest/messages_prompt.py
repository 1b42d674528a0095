"""A request to messages as its prompt: turns, and the blocks that are counted and cached. Checks nothing."""

from collections.abc import Iterator

from proxy.demo.rest.asked import Json
from proxy.demo.rest.prompt_cache import Block, Ttl
from proxy.demo.rest.tokens import written

_MARK = "cache_control"


def content_of(message: Json) -> list[Json]:
    """A message's blocks; a text is one."""
    return as_blocks(message.get("content"))


def as_blocks(content: object) -> list[Json]:
    """A text or a list of blocks as blocks."""
    if isinstance(content, str):
        return [{"type": "text", "text": content}]
    return [block for block in content if isinstance(block, dict)] if isinstance(content, list) else []


def merged_turns(messages: list[Json]) -> list[tuple[str, list[Json]]]:
    """Who says what; messages of one role that come together are one turn."""
    turns: list[tuple[str, list[Json]]] = []
    for message in messages:
        if turns and turns[-1][0] == message["role"]:
            turns[-1][1].extend(content_of(message))
        else:
            turns.append((message["role"], content_of(message)))
    return turns


def prompt_blocks(body: Json) -> list[Block]:
    """The whole prompt in the order in which Anthropic caches: tools, system, messages.

    What is wanted of tools and thoughts stands before the messages: when it changes, none of them is in the cache.
    The answer's beginning stands behind them, and never is.
    """
    return [
        *(_block("tool", tool) for tool in body.get("tools") or []),
        *(_block("system", block) for block in as_blocks(body.get("system"))),
        Block(written([body.get("tool_choice"), body.get("thinking")])),
        *(one for message in body["messages"] for one in _message_blocks(message)),
        Block(written(["assistant"])),
    ]


def marks(body: Json) -> list[Json]:
    """All ``cache_control`` of the request, in the prompt's order."""
    blocks = [*(body.get("tools") or []), *as_blocks(body.get("system"))]
    for message in body["messages"]:
        for block in content_of(message):
            blocks += [*as_blocks(block.get("content")), block]
    return [block[_MARK] for block in blocks if block.get(_MARK)]


def _message_blocks(message: Json) -> Iterator[Block]:
    """Results are blocks with blocks inside; the last one inside has the result's mark."""
    for block in content_of(message):
        if block.get("type") != "tool_result":
            yield _block(message["role"], block)
            continue
        inside = [_block("result", part) for part in as_blocks(block.get("content"))]
        head = _block("user", {name: value for name, value in block.items() if name != "content"})
        yield from [
            head._replace(ttl=None),
            *inside[:-1],
            *(one._replace(ttl=head.ttl or one.ttl) for one in inside[-1:]),
        ]
        if not inside and head.ttl:
            yield Block("", head.ttl)


def _block(what: str, block: Json) -> Block:
    mark = block.get(_MARK)
    ttl: Ttl | None = None if not mark else "1h" if mark.get("ttl") == "1h" else "5m"
    return Block(written([what, {name: value for name, value in block.items() if name != _MARK}]), ttl)
