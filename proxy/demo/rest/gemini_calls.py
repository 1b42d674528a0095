"""Calls as Gemini makes them over chat: an id with the tool's name, and the signature of a thought that must come back.

Of the calls of one step the first is signed. Those of the current turn are checked, as Gemini 3 does:
https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

import hashlib
from typing import Final

from proxy.demo.rest.answering import Call
from proxy.demo.rest.asked import Json
from proxy.demo.rest.errors import RestError
from proxy.demo.rest.signing import is_signed, sign

_KIND: Final = "gemini"
#: What Google takes instead, for calls that were never its own.
_ANY: Final = frozenset({"context_engineering_is_the_way_to_go", "skip_thought_signature_validator"})


def call_id(call: Call, salt: str) -> str:
    """Such as ``tool_look_0a1b2c3d4e5f6a7b8c9d``."""
    return f"tool_{call.name}_{hashlib.sha256((salt + call.arguments_json).encode()).hexdigest()[:20]}"


def signature_of(call: Call, index: int) -> Json:
    """What stands beside the call, if it is the first of a step."""
    return {} if index else {"extra_content": {"google": {"thought_signature": sign(_KIND, call.name)}}}


def check_signatures(messages: list[Json]) -> None:
    """Checks the calls behind the user's last message. Raises RestError: a signature is missing, or none of ours."""
    last = max((at for at, message in enumerate(messages) if message["role"] == "user"), default=-1)
    for message in messages[last + 1 :]:
        if calls := message.get("tool_calls"):
            _check(calls[0])


def _check(call: Json) -> None:
    name = call["function"]["name"]
    signature = ((call.get("extra_content") or {}).get("google") or {}).get("thought_signature")
    if not signature:
        raise RestError(f"Function call is missing a thought_signature in functionCall parts. Function call `{name}`.")
    if signature not in _ANY and not is_signed(_KIND, name, signature):
        raise RestError("Corrupted thought signature.")
