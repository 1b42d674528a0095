"""Tools of a request in Poe's form: definitions, what the caller wants of them, calls and results of earlier turns.

Pure. Poe's protocol carries definitions whole, but no choice among them: ``none`` and a named function are done by what
is sent, ``required`` by asking for it. Form of earlier turns:
https://creator.poe.com/docs/server-bots/function-calling.
"""

import json
import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from proxy.core.chat_request import ChatRequest, ChosenTool, FunctionTool, HostedTool, Tool, ToolCall, ToolResult
from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.upstreams.poe.functions import check_choice, full_parameters
from proxy.upstreams.poe.tool_results import result_text, without_a_call
from proxy.upstreams.poe_bot.query import Message, Query

_MUST_CALL = "You must answer by calling {which}, and with nothing else."
#: More text than this is encoded in pieces, of so many characters at most.
_LONG_CHARACTERS: Final = 256 * 1024
#: Most that all tools of a request may have, as JSON; a hundred of an agent's have half a million.
_MAX_CHARACTERS: Final = 2_000_000
_ONE_CALL = "Call at most one function at a time."


@dataclass(frozen=True, slots=True)
class ToolSet:
    """The tools that a bot is offered.

    Attributes:
        tools: definitions for Poe; empty when there are none, or the caller wants none used.
        instruction: what to tell the bot about them, or "".
        one_only: whether only one call is wanted.
        is_demanded: whether the answer has to be a call.
    """

    tools: Sequence[Mapping[str, Any]] = ()
    instruction: str = ""
    one_only: bool = False
    is_demanded: bool = False


_NOTHING: Final = ToolSet()


def build_offer(request: ChatRequest) -> ToolSet:
    """What the request offers.

    Raises:
        UnsupportedFeature: a tool, or a choice, is of a type other than ``function``.
        InvalidRequest: a number in a tool is none, or the function that must be called is not offered.
    """
    choice = request.tool_choice
    if not request.tools and choice == "auto":
        return _NOTHING
    definitions = _definitions(request.tools)
    if isinstance(choice, ChosenTool) and choice.type != "function":
        raise UnsupportedFeature(
            f"A tool choice of type '{choice.type[:40]}' is not supported.", param="tool_choice.type"
        )
    check_choice(choice, [one["function"]["name"] for one in definitions])
    if choice == "none" or not definitions:
        return _NOTHING
    which = ""
    one_only = not request.parallel_tool_calls
    if isinstance(choice, ChosenTool):
        definitions = [one for one in definitions if one["function"]["name"] == choice.name]
        which = f"the function {choice.name}"
    elif choice == "required":
        which = f"one {'' if one_only else 'or more '}of the functions you have"
    instructions = [_MUST_CALL.format(which=which)] * bool(which) + [_ONE_CALL] * (one_only and choice != "required")
    return ToolSet(definitions, " ".join(instructions), one_only, bool(which))


def _definitions(tools: Sequence[Tool]) -> list[dict[str, Any]]:
    """The definitions of all tools, which together have a bound: they are written and counted in one piece."""
    definitions, characters = [], 0
    for tool in tools:
        definition = _definition(tool)
        characters += _size(definition, tool.path)
        if characters > _MAX_CHARACTERS:
            raise InvalidRequest(
                f"Invalid value for 'tools': they have more than {_MAX_CHARACTERS} characters of JSON.", param="tools"
            )
        definitions.append({"type": "function", "function": definition})
    return definitions


def _definition(tool: Tool) -> dict[str, Any]:
    """The function whole, with what Poe requires and OpenAI does not: a description, and parameters' properties."""
    if not isinstance(tool, FunctionTool):
        kind = tool.type if isinstance(tool, HostedTool) else "custom"
        raise UnsupportedFeature(f"Tools of type '{kind[:40]}' are not supported.", param=tool.path)
    return {
        "name": tool.name,
        "description": tool.description or tool.name,
        "parameters": full_parameters(tool),
        **tool.more,
    }


def _size(definition: dict[str, Any], param: str) -> int:
    """How many characters of JSON it has."""
    try:
        return len(json.dumps(definition, allow_nan=False))
    except ValueError:
        raise InvalidRequest(f"Invalid value for '{param}': a number in it is not finite.", param=param) from None


def calls_content(calls: Sequence[ToolCall]) -> str:
    """The content of a bot's message of type ``function_call``."""
    return _written(
        [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in calls
        ],
        [call.arguments for call in calls],
    )


def without_tools(query: Query, instruction: str) -> Query:
    """The same conversation for a bot that refuses tools: none are offered, and earlier calls are told in words.

    Args:
        query: that offers tools.
        instruction: what the bot was told about them; it is left out.
    """
    kept = [message for message in query.messages if message.role != "system" or message.content != instruction]
    told = [_in_words(message)._replace(parameters={}) for message in kept]
    parameters = {name: value for message in kept for name, value in message.parameters.items()}
    if parameters:
        last = max((at for at, message in enumerate(told) if message.role == "user"), default=len(told) - 1)
        told[last] = told[last]._replace(parameters=parameters)
    return query._replace(messages=told, tools=())


def _in_words(message: Message) -> Message:
    """Calls and results, which are JSON of ours, as texts of the bot and of the user."""
    if message.message_type == "function_call":
        calls = [call["function"] for call in json.loads(message.content)]
        words = "\n".join(f"[I called {call['name']} with {call['arguments']}]" for call in calls)
        return message._replace(content=words, message_type=None)
    if message.role == "tool":
        results = json.loads(message.content)
        words = "\n\n".join(f"[Result of {one['name']}]\n{one['content']}" for one in results)
        return message._replace(role="user", content=words)
    return message


class ResultReader:
    """Results of calls, with the names of the functions they are of, which clients leave out."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    @property
    def ids(self) -> frozenset[str]:
        """The ids of all calls so far."""
        return frozenset(self._names)

    def note(self, calls: Sequence[ToolCall]) -> None:
        """The conversation made these calls."""
        self._names.update([(call.id, call.name) for call in calls])

    def read(self, result: ToolResult, text: str) -> dict[str, str]:
        """One result as Poe has it; ``text`` is its content.

        Raises:
            InvalidRequest: it is of no call that was made before.
        """
        name = self._names.get(result.call_id)
        if name is None:
            raise without_a_call(result)
        return {"role": "tool", "name": name, "tool_call_id": result.call_id, "content": result_text(result, text)}


def results_content(results: Sequence[Mapping[str, str]]) -> str:
    """The content of the one message that holds all results of a turn."""
    return _written(list(results), [result["content"] for result in results])


def _written(items: Sequence[Any], texts: Sequence[str]) -> str:
    """The items as a JSON list. Much text in them is encoded in pieces, since each keeps Python's lock."""
    if sum(map(len, texts)) <= _LONG_CHARACTERS:
        return json.dumps(items, ensure_ascii=False)
    written = "["
    for number, item in enumerate(items):  # added in place: nothing else knows what is written
        written += ", " * bool(number)
        for piece in _pieces(item, texts[number]):
            written += piece
    return written + "]"


def _pieces(item: Any, text: str) -> Iterator[str]:
    """One item as JSON; ``text`` is the one text in it that may be long."""
    if len(text) <= _LONG_CHARACTERS:
        yield json.dumps(item, ensure_ascii=False)
        return
    mark = secrets.token_hex(16)
    before, _, after = json.dumps(_marked(item, mark), ensure_ascii=False).partition(mark)
    yield before
    for at in range(0, len(text), _LONG_CHARACTERS):
        yield json.dumps(text[at : at + _LONG_CHARACTERS], ensure_ascii=False)[1:-1]
    yield after


def _marked(item: Any, mark: str) -> Any:
    """``item`` with a mark in place of its long text."""
    match item:
        case str():
            return mark if len(item) > _LONG_CHARACTERS else item
        case dict():
            return {name: _marked(inner, mark) for name, inner in item.items()}
        case _:
            return item
