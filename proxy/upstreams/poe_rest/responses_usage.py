"""Token counts of Poe's Responses API. Pure."""

from typing import Any

from proxy.core.usage import Usage


def read_usage(said: object) -> Usage | None:
    """What a response says it used; None where it says nothing. Counts that are no numbers are 0."""
    if not isinstance(said, dict) or not {"input_tokens", "output_tokens"} & said.keys():
        return None
    read, written = _details(said, "input_tokens_details"), _details(said, "output_tokens_details")
    return Usage(
        _count(said.get("input_tokens")),
        _count(said.get("output_tokens")),
        _count(written.get("reasoning_tokens")),
        _count(read.get("cached_tokens")),
        _count(read.get("cache_write_tokens")),
        is_exact=True,
    )


def _details(said: dict[str, Any], name: str) -> dict[str, Any]:
    details = said.get(name)
    return details if isinstance(details, dict) else {}


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 0
