"""A call's signature within its id: clients give an id back whatever they drop. Pure.

Gemini signs the thoughts that led to a call, and refuses the conversation when the signature does not come back with
the call. Few clients keep a field that they do not know, and all keep ids. Other models, and other APIs of Poe's, get
the id without it.
"""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from proxy.core.chat_request import Message, Part, ToolCall, ToolResult

#: Stands between the two; of characters that every client takes in an id.
_MARK: Final = "__signed__"
#: Whose messages have calls, and whose their results.
_WITH_IDS: Final = ("assistant", "tool")
_SIGNATURE: Final = re.compile(r"[A-Za-z0-9+/_=-]{1,100000}")


def signed_id(call_id: str, signature: str) -> str:
    """The id with the signature of its call."""
    if not signature:
        return call_id
    return f"{call_id}{_MARK}{urlsafe_b64encode(signature.encode()).decode().rstrip('=')}"


def parts_of_id(signed: str) -> tuple[str, str]:
    """The id and the signature, which is "" where there is none."""
    call_id, mark, encoded = signed.partition(_MARK)
    if not mark or not _SIGNATURE.fullmatch(encoded):
        return signed, ""
    try:
        return call_id, urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
    except ValueError:
        return signed, ""


def without_signed_ids(messages: Sequence[Message]) -> Sequence[Message]:
    """The conversation with signatures where they belong: at their calls."""
    for message in messages:  # not with ``any``: a request pays for each step of it
        if message.role in _WITH_IDS and any(_MARK in _id_of(part) for part in message.parts):
            return [replace(message, parts=[_own(part) for part in message.parts]) for message in messages]
    return messages


def _id_of(part: Part) -> str:
    if isinstance(part, ToolCall):
        return part.id
    return part.call_id if isinstance(part, ToolResult) else ""


def _own(part: Part) -> Part:
    if isinstance(part, ToolCall):
        call_id, signature = parts_of_id(part.id)
        return replace(part, id=call_id, signature=part.signature or signature)
    if isinstance(part, ToolResult):
        return replace(part, call_id=parts_of_id(part.call_id)[0])
    return part
