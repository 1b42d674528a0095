"""Which conversation a request belongs to, as coding agents say it in headers."""

from typing import Final

from sanic import Request

from proxy.core.chat_request import ChatRequest

#: Claude Code's; Codex's; pi's; Codex's again; opencode's.
_NAMES: Final = (
    "x-claude-code-session-id",
    "session-id",
    "session_id",
    "thread-id",
    "x-session-affinity",
    "x-session-id",
)
_ANY: Final = frozenset(_NAMES)


def note_session(request: Request, chat: ChatRequest) -> None:
    """Takes over the session that a header names, before one in the body."""
    headers = request.headers
    if not _ANY.isdisjoint(headers):  # nearly every chat has none: one look at all is quicker than one at each
        chat.session_key = next((session for name in _NAMES if (session := headers.get(name))), chat.session_key)
