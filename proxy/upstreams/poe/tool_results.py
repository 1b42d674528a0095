"""Results of calls, as Poe's APIs have them that know no failed ones. Pure."""

from typing import Final

from proxy.core.chat_request import ToolResult
from proxy.core.failures import InvalidRequest

#: Precedes the result of a tool that failed.
_FAILED: Final = "[The tool failed]"


def result_text(result: ToolResult, text: str) -> str:
    """The ``text`` of a result, which says whether the tool failed."""
    return f"{_FAILED}\n{text}" if result.is_error else text


def without_a_call(result: ToolResult) -> InvalidRequest:
    """What a request gets whose result is of no call that was made before."""
    return InvalidRequest(
        f"Invalid value for '{result.path}': no message before it has a tool call with this id.", param=result.path
    )
