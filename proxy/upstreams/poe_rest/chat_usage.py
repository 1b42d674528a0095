"""The token counts of a chat completion as ours. Pure.

Two backends count otherwise than OpenAI: Grok's reasoning stands beside the completion's tokens, and what Claude wrote
to its cache has a field of its own. Details may be null, or missing.
"""

from collections.abc import Mapping
from typing import Any, Final

from proxy.core.usage import Usage

#: More tokens than this are none.
_SENSELESS: Final = 10**12


def usage_of(counts: Mapping[str, Any]) -> Usage | None:
    """What ``usage`` says; None where it does not count prompt and answer."""
    prompt, completion = _count(counts, "prompt_tokens"), _count(counts, "completion_tokens")
    if prompt is None or completion is None:
        return None
    of_prompt, of_completion = (_details(counts, f"{which}_tokens_details") for which in ("prompt", "completion"))
    reasoning = _count(of_completion, "reasoning_tokens") or 0
    if _is_beside(reasoning, prompt, completion, counts, of_completion):
        completion += reasoning
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        reasoning_tokens=reasoning,
        cached_tokens=_count(of_prompt, "cached_tokens") or _count(counts, "cache_read_input_tokens") or 0,
        cache_write_tokens=_count(counts, "cache_creation_input_tokens")
        or _count(of_prompt, "cache_creation_tokens")
        or 0,
        is_exact=True,
    )


def _is_beside(
    reasoning: int, prompt: int, completion: int, counts: Mapping[str, Any], of_completion: Mapping[str, Any]
) -> bool:
    """Whether the reasoning is not within the completion: it would not fit, or the other counts show it."""
    if not reasoning:
        return False
    return (
        reasoning > completion
        or _count(counts, "total_tokens") == prompt + completion + reasoning
        or _count(of_completion, "text_tokens") == completion
    )


def _details(counts: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    details = counts.get(name)
    return details if isinstance(details, dict) else {}


def _count(counts: Mapping[str, Any], name: str) -> int | None:
    number = counts.get(name)
    return number if type(number) is int and 0 <= number < _SENSELESS else None
