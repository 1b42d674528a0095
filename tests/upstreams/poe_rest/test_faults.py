"""What errors of Poe's chat, responses and messages are taken for, and what their callers read."""

import json
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.failures import (
    FeatureRefused,
    KeyRefused,
    ModelNotFound,
    OutOfPoints,
    PoeError,
    PoeFailed,
    PoeTimeout,
    PromptTooLong,
    RateLimited,
    RefusedByBot,
    RefusedByPolicy,
    SubscriptionRequired,
)
from proxy.keypool.verdict import judge
from proxy.upstreams.poe.doubtful import ProviderLimited, RefusedHere, RefusedWithoutReason
from proxy.upstreams.poe.responses import MAX_ERROR_BYTES
from proxy.upstreams.poe_rest.faults import fault_of_answer, fault_of_error_event
from proxy.upstreams.poe_rest.unserved import EndpointRefused

KEY: Final = "sk-poe-0123456789abcdefghij"
ID: Final = "0123456789abcdef0123456789abcdef"
POES: Final = "You have exceeded rate limit to query bot using User API Key."
LITELLM: Final = "litellm.BadRequestError: OpenAIException - "


def openai(message: object, type_: str = "invalid_request_error", **more: object) -> dict[str, Any]:
    return {"error": {"message": message, "type": type_, **more}}


def anthropic(type_: str, message: str) -> dict[str, Any]:
    return {"type": "error", "error": {"type": type_, "message": message}, "request_id": "req_1"}


def vertex(type_: str, message: str) -> dict[str, Any]:
    """The provider's own error, as text within Poe's."""
    return anthropic("invalid_request_error", json.dumps(anthropic(type_, message)))


def of_answer(status: int, body: object, headers: dict[str, str] | None = None, key: str = KEY) -> PoeError:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return fault_of_answer(status, "application/json", headers or {}, raw, key)


@pytest.mark.parametrize(
    ("status", "body", "fault", "message", "param"),
    [
        (
            400,
            openai(f"{LITELLM}This is not a chat model and thus not supported in v1/chat/completions.", error_id=ID),
            EndpointRefused,
            None,
            None,
        ),
        (400, openai("Model does not support responses method.", error_id=ID), EndpointRefused, None, None),
        (400, openai("Token unit price not found for entity: 7:1", error_id=ID), EndpointRefused, None, None),
        (404, anthropic("api_error", "Internal server error"), EndpointRefused, None, None),
        (404, {"detail": "Not Found"}, EndpointRefused, None, None),
        (405, {"detail": "Method Not Allowed"}, EndpointRefused, None, None),
        (404, b"<html>404</html>", EndpointRefused, None, None),
        (405, b"", EndpointRefused, None, None),
        (404, openai("This model is only supported in v1/responses and not here."), EndpointRefused, None, None),
        (
            400,
            openai("Unsupported value: 'high' is not supported with 'a'. Supported values are: 'medium'."),
            RefusedByBot,
            "Unsupported value: 'high' is not supported with 'a'. Supported values are: 'medium'. (said by Poe)",
            None,
        ),
        (
            400,
            openai("Unsupported parameter: 'reasoning.summary' is not supported with the 'a' model.", error_id=ID),
            RefusedByBot,
            "Unsupported parameter: 'reasoning.summary' is not supported with the 'a' model. (said by Poe)",
            "reasoning.summary",
        ),
        (
            400,
            openai("Deep research needs a search tool.", error_id=ID),
            RefusedByBot,
            "Deep research needs a search tool. (said by Poe)",
            None,
        ),
        (
            400,
            openai("Model a does not support tool calling.", param="model", code="unsupported_feature_for_model"),
            FeatureRefused,
            "Model a does not support tool calling. (said by Poe)",
            "model",
        ),
        (
            400,
            openai(f"{LITELLM}tools is not supported in this model.", error_id=ID),
            FeatureRefused,
            "tools is not supported in this model. (said by Poe)",
            None,
        ),
        (
            404,
            openai("tools is not supported in this model."),
            FeatureRefused,
            "tools is not supported in this model. (said by Poe)",
            None,
        ),
        (
            400,
            openai("Functions are not supported with a.", error_id=ID),
            FeatureRefused,
            "Functions are not supported with a. (said by Poe)",
            None,
        ),
        (404, openai("The model `a` does not exist or you do not have access to it."), ModelNotFound, None, None),
        (404, anthropic("not_found_error", "model: a"), ModelNotFound, None, None),
        (500, openai("Error from OpenAI: The server had an error.", "provider_error"), PoeFailed, None, None),
        (
            400,
            anthropic("invalid_request_error", "tools.0.custom.input_schema.type: Field required"),
            RefusedByBot,
            "tools.0.custom.input_schema.type: Field required (said by Poe)",
            "tools.0.custom.input_schema.type",
        ),
        (
            400,
            anthropic("invalid_request_error", "context_management: Extra inputs are not permitted"),
            RefusedByBot,
            "context_management: Extra inputs are not permitted (said by Poe)",
            "context_management",
        ),
        (
            400,
            vertex("invalid_request_error", "'a' does not support thinking."),
            RefusedByBot,
            "'a' does not support thinking. (said by Poe)",
            None,
        ),
        (
            400,
            anthropic("invalid_request_error", "prompt is too long: 9 tokens > 8 maximum"),
            PromptTooLong,
            f"{PromptTooLong.default_message} (Poe: prompt is too long: 9 tokens > 8 maximum)",
            None,
        ),
        (
            400,
            anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 7 + 2 > 8"),
            PromptTooLong,
            f"{PromptTooLong.default_message} (Poe: input length and `max_tokens` exceed context limit: 7 + 2 > 8)",
            None,
        ),
        (400, openai("The input token count (9) exceeds the maximum number of tokens."), PromptTooLong, ..., None),
        (400, openai("Input tokens exceed the configured limit of 8 tokens."), PromptTooLong, ..., None),
        (413, anthropic("request_too_large", "Request exceeds the maximum size"), PromptTooLong, ..., None),
        (401, anthropic("authentication_error", "Invalid API key"), KeyRefused, None, None),
        (402, openai("Not enough.", "insufficient_credits"), OutOfPoints, None, None),
        (402, anthropic("billing_error", "Not enough."), OutOfPoints, None, None),
        (402, openai("The model a requires an active Poe subscription."), SubscriptionRequired, None, None),
        (403, anthropic("permission_error", "This key has no permission to use a."), RefusedHere, None, None),
        (403, openai("Denied."), RefusedWithoutReason, "Denied. (said by Poe)", None),
        (403, openai("Blocked.", "moderation_error"), RefusedByPolicy, "Blocked. (said by Poe)", None),
        (429, openai("Resource has been exhausted.", "rate_limit_error", error_id=ID), ProviderLimited, None, None),
        (429, openai(POES, "rate_limit_error"), RateLimited, None, None),
        (429, openai(POES, "rate_limit_error", error_id=ID), RateLimited, None, None),
        (429, b"", RateLimited, None, None),
        (504, anthropic("timeout_error", "Too slow"), PoeTimeout, None, None),
        (529, anthropic("overloaded_error", "Overloaded"), PoeFailed, None, None),
        (200, b"<html>", PoeFailed, None, None),
        (302, b"", PoeFailed, None, None),
    ],
)  # fmt: skip
def test_an_answer_means(status: int, body: object, fault: type[PoeError], message: Any, param: str | None) -> None:
    error = of_answer(status, body)

    assert type(error) is fault
    assert error.http_status == status
    assert error.param == param
    if message is not ...:
        assert error.message == (message or fault.default_message)


@pytest.mark.parametrize("family", ["x-ratelimit-{}-requests", "anthropic-ratelimit-requests-{}"])
@pytest.mark.parametrize(
    ("body", "left", "fault"),
    [
        (openai("Slow down.", "rate_limit_error"), "0", RateLimited),
        (openai("Slow down.", "rate_limit_error", error_id=ID), "0", RateLimited),
        (openai("Slow down.", "rate_limit_error"), "499", ProviderLimited),
        (anthropic("rate_limit_error", "This would exceed your organization's limit"), "499", ProviderLimited),
        (openai(POES, "rate_limit_error"), "499", RateLimited),
        (openai(f"Error from OpenAI: {POES}", "provider_error"), "499", ProviderLimited),
        (vertex("overloaded_error", "Overloaded"), "499", ProviderLimited),
    ],
)
def test_a_429_is_the_accounts_when_no_requests_are_left_or_in_poes_words(
    family: str, body: object, left: str, fault: type[PoeError]
) -> None:
    assert type(of_answer(429, body, {family.format("remaining"): left})) is fault


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "7", "x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9"}, 7),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "9"}, 9),
        (
            {
                "date": "Tue, 05 May 2026 10:00:00 GMT",
                "anthropic-ratelimit-requests-remaining": "0",
                "anthropic-ratelimit-requests-reset": "2026-05-05T10:00:11Z",
            },
            11,
        ),
    ],
)
def test_poes_limit_lasts_as_long_as_its_headers_say(headers: dict[str, str], wait_s: float) -> None:
    error = of_answer(429, b"", headers)

    assert (type(error), error.retry_after_s) == (RateLimited, wait_s)
    assert judge(error).stated_s == wait_s


@pytest.mark.parametrize("status", [400, 401, 402, 403, 429, 500])
@pytest.mark.parametrize(
    "words",
    [
        "Incorrect API key provided: sk-x",
        "You have insufficient credits",
        "Your credit balance is too low to access the API.",
        "Rate limit reached for a in organization b",
        "A model that requires an active Poe subscription",
    ],
)
@pytest.mark.parametrize("wrap", [lambda words: f"litellm.APIError: {words}", lambda words: json.dumps(openai(words))])
def test_what_a_provider_says_of_the_account_that_asks_it_is_never_ours(status: int, words: str, wrap: Any) -> None:
    error = of_answer(status, openai(wrap(words), "provider_error"))

    assert isinstance(error, ProviderLimited | PoeFailed)
    assert judge(error).effect in ("none", "cool account for bot")


def test_an_endpoint_that_does_not_serve_a_model_costs_nobody_anything() -> None:
    error = of_answer(400, openai("Model does not support responses method."))

    assert not error.another_key_may_help
    assert judge(error).effect == "none"


@pytest.mark.parametrize(
    "words",
    [
        "Invalid value: 'Model does not support responses method.'",
        "messages.0: Token unit price not found",
        'Expected a tool but got "This is not a chat model"',
    ],
)
def test_a_caller_cannot_make_an_endpoint_refuse_a_model_by_what_it_has_quoted(words: str) -> None:
    assert type(of_answer(400, openai(words))) is RefusedByBot


@pytest.mark.parametrize("status", [401, 402, 403, 429, 500])
def test_only_a_refusal_of_the_request_is_one_of_the_endpoint(status: int) -> None:
    assert type(of_answer(status, openai("Model does not support responses method."))) is not EndpointRefused


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (anthropic("overloaded_error", "Overloaded"), PoeFailed),
        (anthropic("api_error", "Internal server error"), PoeFailed),
        (anthropic("rate_limit_error", "Slow down"), ProviderLimited),
        (anthropic("rate_limit_error", POES), RateLimited),
        (anthropic("authentication_error", "Invalid API key"), KeyRefused),
        (anthropic("permission_error", "Denied."), RefusedHere),
        (anthropic("billing_error", ""), OutOfPoints),
        (anthropic("not_found_error", "model: a"), ModelNotFound),
        (anthropic("invalid_request_error", "messages.1: wrong"), RefusedByBot),
        (anthropic("timeout_error", ""), PoeTimeout),
        (vertex("overloaded_error", "Overloaded"), PoeFailed),
        (openai("Something failed.", "server_error"), PoeFailed),
        (openai("Something failed.", "None", param="None", code="500"), PoeFailed),
        (openai("litellm.RateLimitError: VertexAIException - x", "None", code="429"), ProviderLimited),
        (openai("litellm.BadRequestError: y", "None", code=400), RefusedByBot),
        (openai("Used up", "insufficient_credits"), OutOfPoints),
        ({"type": "error", "code": "server_error", "message": "x", "param": None}, PoeFailed),
        ({"type": "error", "code": "rate_limit_exceeded", "message": "x"}, ProviderLimited),
        ({"type": "error", "code": "context_length_exceeded", "message": "x"}, PromptTooLong),
        ({"code": "invalid_prompt", "message": "flagged"}, RefusedByBot),
        ({"code": "invalid_image_format", "message": "no picture"}, RefusedByBot),
        ({"type": "response.failed", "response": {"error": {"code": "server_error", "message": "x"}}}, PoeFailed),
        ({"type": "response.failed", "response": {"error": None}}, PoeFailed),
        ({"error": "busy"}, PoeFailed),
        ({}, PoeFailed),
    ],
)
def test_an_error_in_a_stream_means(data: dict[str, Any], fault: type[PoeError]) -> None:
    error = fault_of_error_event(data)

    assert type(error) is fault
    assert error.http_status is None


def test_words_that_quote_the_key_are_not_passed_on() -> None:
    for body in (openai(f"Bad value {KEY}", param=KEY), openai("Bad value", param=KEY), openai(f"a.{KEY}: wrong")):
        for error in (of_answer(400, body), fault_of_error_event(body, key=KEY)):
            assert type(error) is RefusedByBot
            assert KEY[7:] not in f"{error.message} {error.param} {error.said}"


def test_a_page_of_html_is_nobodys_word() -> None:
    error = of_answer(400, b"<html>tools.0.name: Field required</html>")

    assert (error.message, error.param) == (RefusedByBot.default_message, None)


@pytest.mark.parametrize(
    "body",
    [
        b"<html>" + b"x" * MAX_ERROR_BYTES,
        json.dumps(openai("a" * MAX_ERROR_BYTES)).encode(),
        json.dumps(openai("a." * (MAX_ERROR_BYTES // 2))).encode(),
        json.dumps(openai("litellm.A: " * 6_000)).encode(),
        json.dumps(openai("[" * 50_000)).encode(),
        b'{"error": {"message": "cut o',
        b"\xff\xfe",
        b"null",
        b"[]",
        b"7",
        json.dumps({"error": [1]}).encode(),
        json.dumps(openai({"a": 1}, type_=["x"], param={}, code=[], error_id=7)).encode(),  # type: ignore[arg-type]
    ],
)
@pytest.mark.parametrize("status", [400, 404, 429, 500])
def test_no_body_breaks_the_reading(status: int, body: bytes) -> None:
    error = of_answer(status, body)

    assert isinstance(error, PoeError)
    assert len(error.message) < 1_000
    assert len(error.said) <= 300


_JSON: Final = st.recursive(
    st.none() | st.integers() | st.floats(allow_nan=False) | st.text() | st.sampled_from([KEY, "None", "api_error"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["error", "type", "message", "code", "param", "detail", "response", "text"]), inner
        )
        | inner.map(json.dumps)
    ),
    max_leaves=12,
)


@given(status=st.integers(400, 599), body=_JSON)
def test_no_json_breaks_the_reading_or_shows_the_key(status: int, body: Any) -> None:
    errors = [of_answer(status, body)]
    if isinstance(body, dict):
        errors.append(fault_of_error_event(body, key=KEY))

    for error in errors:
        assert KEY not in f"{error.message} {error.param} {error.said}"
