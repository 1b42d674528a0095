"""Failures in Anthropic's form."""

import json

import pytest

from proxy.core.failures import ClientLimited, OutOfPoints, PromptTooLong, ProxyError
from proxy.dialects.anthropic_messages.errors import FORMS, error_body, error_event, status_of
from proxy.dialects.openai.errors import FORMS as OPENAIS


def test_every_kind_of_failure_has_a_form() -> None:
    assert FORMS.keys() == OPENAIS.keys()


@pytest.mark.parametrize("kind", FORMS)
def test_every_kind_is_anthropics_object(kind: str) -> None:
    failure = type("Failure", (ProxyError,), {"kind": kind, "default_message": "It failed."})

    assert json.loads(error_body(failure(), "req_1")) == {
        "type": "error",
        "error": {"type": FORMS[kind].type, "message": "It failed."},
        "request_id": "req_1",
    }


def test_a_limit_is_one_that_clients_wait_for() -> None:
    limited = ClientLimited("streams", retry_after_s=1)

    assert (status_of(limited), json.loads(error_body(limited, ""))["error"]["type"]) == (429, "rate_limit_error")


def test_points_that_are_used_up_are_none() -> None:
    """Claude Code asks again for minutes after a 429, and shows a 402 at once."""
    assert status_of(OutOfPoints()) == 402


def test_claude_code_knows_a_prompt_that_is_too_long_by_its_words() -> None:
    assert status_of(PromptTooLong()) == 400
    assert "maximum context length" in PromptTooLong().message


def test_an_error_within_a_stream_is_one_line() -> None:
    event = error_event(ProxyError("one\u2028two"), "req_1")

    assert event.startswith(b'event: error\ndata: {"type":"error",')
    assert len(event.decode().splitlines()) == 3
