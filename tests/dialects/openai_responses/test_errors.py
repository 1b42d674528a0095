"""Codes of failed responses, by what Codex does with them."""

import pytest

from proxy.core.failures import (
    ClientLimited,
    ModelNotFound,
    NoKeyReady,
    OutOfPoints,
    PromptTooLong,
    ProxyError,
    StreamCut,
)
from proxy.dialects.openai_responses.errors import code_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StreamCut(), "server_error"),
        (NoKeyReady(retry_after_s=2), "rate_limit_exceeded"),
        (NoKeyReady(retry_after_s=3_600), "insufficient_quota"),
        (ClientLimited("requests_per_day", retry_after_s=None), "insufficient_quota"),
        (OutOfPoints(), "insufficient_quota"),
        (PromptTooLong(), "context_length_exceeded"),
        (ModelNotFound(), "model_not_found"),
    ],
)
def test_the_code_says_whether_to_ask_again(error: ProxyError, code: str) -> None:
    assert code_of(error) == code


def test_codex_finds_how_long_to_wait_in_the_words() -> None:
    """It looks for "try again in", in any case, and a number of seconds."""
    assert NoKeyReady(retry_after_s=1.2).message.endswith("Try again in 2 s.")
