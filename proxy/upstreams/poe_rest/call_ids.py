"""Ids of calls that are unique in a conversation: some models count from 0 in each turn, as in ``look:0``. Pure."""

from collections import deque

from proxy.core.chat_request import ToolCall, ToolResult
from proxy.upstreams.poe.tool_results import without_a_call


class CallIds:
    """Gives each call an id, and each result that of its call. Ask in the order of the conversation.

    An id stays as it is, however long it is, unless an earlier call has it. The same conversation gets the same ids.
    """

    def __init__(self) -> None:
        self._given: set[str] = set()
        #: By the id that the conversation has: how many calls have it, those without a result, and the last with one.
        self._calls: dict[str, int] = {}
        self._waiting: dict[str, deque[str]] = {}
        self._answered: dict[str, str] = {}

    def of_call(self, call: ToolCall) -> str:
        """The call's id."""
        given = self._next(call.id)
        while given in self._given:
            given = self._next(call.id)
        self._given.add(given)
        self._waiting.setdefault(call.id, deque()).append(given)
        return given

    def of_result(self, result: ToolResult) -> str:
        """The id of the call that it is the result of.

        Raises:
            InvalidRequest: no such call was made before.
        """
        said = result.call_id
        if waiting := self._waiting.get(said):
            self._answered[said] = waiting.popleft()
        elif said not in self._answered:
            raise without_a_call(result)
        return self._answered[said]

    def _next(self, said: str) -> str:
        self._calls[said] = number = self._calls.get(said, 0) + 1
        return said if number == 1 else f"{said}_{number}"
