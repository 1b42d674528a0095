"""The signature that comes with a call and goes back with it, where Google's own OpenAI endpoint has it. Pure.

Shape: https://ai.google.dev/gemini-api/docs/thought-signatures.
"""

from collections.abc import Mapping
from typing import Any


def signed(signature: str) -> dict[str, Any]:
    """The fields of a call with this signature; none when it is ""."""
    return {"extra_content": {"google": {"thought_signature": signature}}} if signature else {}


def signature_of(call: Mapping[str, Any]) -> str:
    """The signature in a call that comes back, or "". One that makes no sense says nothing."""
    place: Any = call.get("extra_content")
    for name in ("google", "thought_signature"):
        place = place.get(name) if isinstance(place, Mapping) else None
    return place if isinstance(place, str) else ""
