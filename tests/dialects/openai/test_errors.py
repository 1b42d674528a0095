"""Failures in OpenAI's form."""

import json

import pytest

from proxy.core.failures import ClientLimited, InvalidRequest, PoeTimeout, ProxyError
from proxy.dialects.openai.errors import FORMS, error_body, status_of


@pytest.mark.parametrize("kind", FORMS)
def test_every_kind_is_openais_object(kind: str) -> None:
    failure = type("Failure", (ProxyError,), {"kind": kind, "default_message": "It failed."})

    assert json.loads(error_body(failure(param="messages[0]"))) == {
        "error": {"message": "It failed.", "type": FORMS[kind].type, "param": "messages[0]", "code": kind}
    }


@pytest.mark.parametrize(
    ("error", "status", "error_type"),
    [
        (InvalidRequest(), 400, "invalid_request_error"),
        (ClientLimited("streams", retry_after_s=1), 429, "requests"),
        (PoeTimeout(), 504, "server_error"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_openais_libraries_know_what_to_do_by_the_status(error: ProxyError, status: int, error_type: str) -> None:
    assert status_of(error) == status
    assert json.loads(error_body(error))["error"]["type"] == error_type
