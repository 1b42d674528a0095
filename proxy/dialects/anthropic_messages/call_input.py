"""The arguments of calls, which are an object for Anthropic's clients, or the answer has failed. Pure."""

import orjson

from proxy.core.failures import PoeFailed


def is_input(arguments: str) -> bool:
    """Whether arguments are a JSON object. None at all are an empty one."""
    if not arguments.strip():
        return True
    try:
        return isinstance(orjson.loads(arguments), dict)
    except orjson.JSONDecodeError:
        return False


def broken_call(name: str = "") -> PoeFailed:
    """The failure of an answer whose call, of a tool with this name or of some tool, cannot be run."""
    tool = f"'{name[:64]}'" if name else "a tool"
    return PoeFailed(f"The model called {tool} with arguments that are not JSON (server error).")
