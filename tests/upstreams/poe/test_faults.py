"""What Poe's statuses, error types and words are taken for."""

import json

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
from proxy.upstreams.poe.doubtful import ProviderLimited, RefusedHere, RefusedWithoutReason
from proxy.upstreams.poe.faults import (
    fault_of_event,
    fault_of_response,
)
from tests.support.scripted_poe import error_event

USED_UP = "You've used up your points! Visit https://poe.com/api/keys to get more."
SUBSCRIBE = "The model Claude-Opus-4.8 requires an active Poe subscription for API access."
TOO_FAST = "You have exceeded rate limit to query bot using User API Key. Try again later."


@pytest.mark.parametrize(
    ("error_type", "words", "fault"),
    [
        ("user_message_too_long", "", PromptTooLong),
        ("insufficient_fund", "", OutOfPoints),
        ("insufficient_fund", USED_UP, OutOfPoints),
        ("user_caused_error", "Pick another aspect ratio.", RefusedByBot),
        ("user_caused_error", "This bot does not support tools.", FeatureRefused),
        ("user_caused_error", "Prompt is too long: 9 tokens > 8 maximum", PromptTooLong),
        ("user_caused_error", "You have exceeded rate limit", RefusedByBot),
        ("user_caused_error", "insufficient funds for this picture", RefusedByBot),
        ("", "Sorry, this model doesn't support the use of tools.", FeatureRefused),
        ("", "Tool use is currently not available.", FeatureRefused),
        ("", "Function calls are not supported", FeatureRefused),
        ("", "No endpoints found that support tool use.", FeatureRefused),
        ("", "Tools used: none", PoeFailed),
        ("privacy_authorization_error", "", RefusedByPolicy),
        ("subscription_required", SUBSCRIBE, SubscriptionRequired),
        ("subscription_required", "", SubscriptionRequired),
        ("", "Internal server error", PoeFailed),
        ("", "Internal server error (error_id: 8f0e7f0e-6c53-4f39-8f5a-3f0ee0f3d0a1)", PoeFailed),
        ("", TOO_FAST, RateLimited),
        ("", USED_UP, OutOfPoints),
        ("", "This bot needs more points to answer your request.", OutOfPoints),
        ("", "You do not have enough points to message this bot.", OutOfPoints),
        ("", SUBSCRIBE, SubscriptionRequired),
        ("", "Bot does not exist", ModelNotFound),
        ("", "Bot does not exist: xai/grok-code-fast-1", ModelNotFound),
        ("", "Cannot access private bots", ModelNotFound),
        ("", "The bot Secret does not support API access", ModelNotFound),
        ("bot_not_api_accessible", "", ModelNotFound),
        ("model_not_accessible_for_this_key", "Bot X does not exist or you do not have access to it", ModelNotFound),
        ("", "Message m-1 called on bot that has 0 or undefined call count in settings.", PoeFailed),
        ("", "", PoeFailed),
        ("malformed_event", "", PoeFailed),
        ("a_type_of_tomorrow", "Something new.", PoeFailed),
    ],
)
def test_an_error_event_means(error_type: str, words: str, fault: type[PoeError]) -> None:
    assert type(fault_of_event(error_type, words)) is fault


def test_a_subscription_is_no_lack_of_points_even_under_that_type() -> None:
    assert type(fault_of_event("insufficient_fund", SUBSCRIBE)) is SubscriptionRequired


@pytest.mark.parametrize(
    ("status", "error_type", "fault"),
    [
        (400, "invalid_request_error", RefusedByBot),
        (401, "authentication_error", KeyRefused),
        (402, "insufficient_credits", OutOfPoints),
        (403, "moderation_error", RefusedByPolicy),
        (404, "not_found_error", ModelNotFound),
        (408, "timeout_error", PoeTimeout),
        (413, "request_too_large", PromptTooLong),
        (429, "rate_limit_error", RateLimited),
        (500, "provider_error", PoeFailed),
        (502, "upstream_error", PoeFailed),
        (503, "unavailable", PoeFailed),
        (529, "overloaded_error", PoeFailed),
    ],
)
def test_each_documented_status_means_the_same_with_its_type_or_with_nothing(
    status: int, error_type: str, fault: type[PoeError]
) -> None:
    """The shape of Poe's OpenAI page: the code is the status, as a number."""
    body = {"error": {"code": status, "type": error_type, "message": "Words.", "metadata": {"raw": "x"}}}

    assert type(fault_of_response(status, {}, json.dumps(body).encode())) is fault
    assert type(fault_of_response(status, {}, b"")) is (RefusedWithoutReason if status == 403 else fault)


@pytest.mark.parametrize(
    ("status", "error_type", "code", "fault"),
    [
        (401, "authentication_error", "invalid_api_key", KeyRefused),
        (401, "invalid_request_error", "invalid_api_key", KeyRefused),
        (400, "invalid_request_error", "model_not_found", ModelNotFound),
        (400, "invalid_request_error", "invalid_parameter", RefusedByBot),
        (400, "invalid_request_error", "missing_parameter", RefusedByBot),
        (400, "invalid_request_error", "unsupported_feature_for_model", FeatureRefused),
        (400, "invalid_request_error", "context_length_exceeded", PromptTooLong),
        (429, "rate_limit_error", "rate_limit_exceeded", RateLimited),
        (402, "insufficient_quota", "insufficient_points", OutOfPoints),
        (402, "insufficient_quota", "insufficient_quota", OutOfPoints),
        (429, "insufficient_quota", "rate_limit_exceeded", OutOfPoints),
        (500, "api_error", "internal_error", PoeFailed),
    ],
)
def test_each_documented_code_means(status: int, error_type: str, code: str, fault: type[PoeError]) -> None:
    """The shape of Poe's API reference: the code is a word."""
    body = {"error": {"message": "Words.", "type": error_type, "code": code, "param": None}}

    assert type(fault_of_response(status, {}, json.dumps(body).encode())) is fault


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (402, {"error": {"message": USED_UP, "type": "insufficient_quota", "code": "insufficient_quota"}}, OutOfPoints),
        (402, {"error": {"message": SUBSCRIBE}}, SubscriptionRequired),
        (402, {"error": {"message": SUBSCRIBE, "type": "insufficient_quota"}}, SubscriptionRequired),
        (402, {"error": {"message": "The model a needs an active Poe subscription"}}, SubscriptionRequired),
        (
            401,
            {
                "error": {
                    "message": "Incorrect API key provided. You can find your API key at https://poe.com/api_key.",
                    "type": "authentication_error",
                    "code": "invalid_api_key",
                }
            },
            KeyRefused,
        ),
        (400, {"error": {"message": "Incorrect API key provided."}}, KeyRefused),
        (401, {"type": "error", "error": {"type": "authentication_error", "message": "Invalid API key"}}, KeyRefused),
        (404, {"error": {"message": "Model `x` not found."}}, ModelNotFound),
        (400, {"error": {"message": "Model `x` not found."}}, ModelNotFound),
        (
            400,
            {
                "error": {
                    "message": "Model kimi-k2.5-fw does not support tool calling. Use a tool-capable model or remove "
                    "tools from the request.",
                    "type": "invalid_request_error",
                    "param": "model",
                    "code": "unsupported_feature_for_model",
                }
            },
            FeatureRefused,
        ),
        (400, {"error": {"message": "This bot does not support tools."}}, FeatureRefused),
        (400, {"error": {"message": "Unsupported value: 'high'.", "type": "invalid_request_error"}}, RefusedByBot),
        (400, {"error": {"message": "This model's maximum context length is 8192 tokens."}}, PromptTooLong),
        (429, {"error": {"message": USED_UP}}, OutOfPoints),
        (429, {"error": {"message": USED_UP, "type": "rate_limit_error"}}, OutOfPoints),
        (429, {"error": {"message": f"{TOO_FAST} {USED_UP}"}}, OutOfPoints),
        (500, {"error": {"message": TOO_FAST}}, RateLimited),
        (403, {"error": {"message": USED_UP}}, OutOfPoints),
        (400, {"error": USED_UP}, OutOfPoints),
        (400, {"detail": "Bot does not exist"}, ModelNotFound),
        (422, {"detail": [{"loc": ["body"], "msg": "field required"}]}, RefusedByBot),
        (200, {"text": SUBSCRIBE, "error_type": "subscription_required", "allow_retry": False}, SubscriptionRequired),
        (429, {"error": None}, RateLimited),
        (429, {"error": {"type": 7, "code": ["x"], "message": {"odd": 1}}}, RateLimited),
        (503, [], PoeFailed),
        (418, {}, RefusedByBot),
        (599, "busy", PoeFailed),
    ],
)
def test_a_body_means(status: int, body: object, fault: type[PoeError]) -> None:
    assert type(fault_of_response(status, {}, json.dumps(body).encode())) is fault


@pytest.mark.parametrize(
    ("status", "body", "fault"),
    [
        (502, b"<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>", PoeFailed),
        (403, b"<!DOCTYPE html><title>Attention Required! | Cloudflare</title>", RefusedWithoutReason),
        (429, b"<html>slow down</html>", RateLimited),
        (500, b"Too Many Requests", RateLimited),
        (500, b"\xff\xfe\x00", PoeFailed),
        (500, b'{"error": {"message": "cut o', PoeFailed),
        (402, b'{"error": {"message": "requires an active Poe subscription fo', SubscriptionRequired),
        (500, b"[" * 100_000, PoeFailed),
    ],
)
def test_a_body_that_is_no_json_is_read_for_poes_words(status: int, body: bytes, fault: type[PoeError]) -> None:
    assert type(fault_of_response(status, {"content-type": "text/html"}, body)) is fault


@pytest.mark.parametrize(
    ("words", "more", "fault"),
    [
        ("x", {"error_type": "insufficient_fund"}, OutOfPoints),
        (SUBSCRIBE, {}, SubscriptionRequired),
        (TOO_FAST, {}, RateLimited),
        ("busy", {}, RateLimited),
    ],
)
def test_an_error_event_in_the_body_of_a_429_says_what_it_means(
    words: str, more: dict[str, str], fault: type[PoeError]
) -> None:
    (sse, _) = error_event(words, **more).steps
    assert isinstance(sse, bytes)

    error = fault_of_response(429, {"content-type": "text/event-stream", "retry-after": "3"}, sse)

    assert type(error) is fault
    assert error.retry_after_s == 3


def test_an_error_event_that_was_cut_off_leaves_the_status_to_speak() -> None:
    assert type(fault_of_response(429, {}, b'event: error\ndata: {"text": "hal')) is RateLimited


def test_a_fault_keeps_the_status_and_poes_words_apart_from_the_message() -> None:
    error = fault_of_response(429, {"retry-after": "7"}, json.dumps({"error": {"message": TOO_FAST}}).encode())

    assert (error.http_status, error.retry_after_s) == (429, 7)
    assert TOO_FAST in error.said
    assert TOO_FAST not in error.message


@pytest.mark.parametrize("words", ["line one\r\nline two\n\n\tline\u2028three\x85\x0b" + "long " * 1_000])
def test_what_poe_said_is_one_short_line(words: str) -> None:
    body = json.dumps({"error": {"message": words, "type": f"odd\n{words}"}}).encode()

    for error in (
        fault_of_event(words, words),
        fault_of_response(500, {}, body),
        fault_of_response(500, {}, words.encode()),
    ):
        assert len(error.said) <= 300
        assert error.said.splitlines() == [error.said]
        assert "line one line two" in error.said


@given(
    status=st.integers(400, 599), body=st.binary(max_size=200) | st.text(max_size=200).map(json.dumps).map(str.encode)
)
def test_no_body_breaks_the_reading(status: int, body: bytes) -> None:
    error = fault_of_response(status, {}, body)

    assert isinstance(error, PoeError)
    assert error.said.isprintable() or len(error.said.splitlines()) <= 1


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"x-ratelimit-reset-requests": "17"}, 17),
        ({"x-ratelimit-reset-requests": "17", "retry-after": "3"}, 3),
        ({"x-ratelimit-reset-requests": "1e12"}, 86_400),
        ({"x-ratelimit-reset-requests": "0"}, None),
        ({"x-ratelimit-remaining-requests": "0"}, None),
    ],
)
def test_a_rate_limit_without_retry_after_lasts_until_its_window_resets(
    headers: dict[str, str], wait_s: float | None
) -> None:
    assert fault_of_response(429, headers, b"").retry_after_s == wait_s


def test_the_reset_of_a_window_says_nothing_of_other_faults() -> None:
    assert fault_of_response(500, {"x-ratelimit-reset-requests": "17"}, b"").retry_after_s is None


@pytest.mark.parametrize(
    ("status", "words", "fault"),
    [
        (403, "This model is not available for this key.", RefusedHere),
        (400, "Your credit balance is too low to access the API.", RefusedHere),
        (400, "Your organization must be verified to use this model.", RefusedHere),
        (403, "Not permitted in your region", RefusedHere),
        (403, "Project does not have permission", RefusedHere),
        (403, "Denied.", RefusedWithoutReason),
        (403, "Flagged: this content violates the terms of your account", RefusedByPolicy),
        (400, "temperature is too high", RefusedByBot),
        (422, "not available for this key", RefusedByBot),
        (404, "not available for this key", ModelNotFound),
        (500, "not available for this key", PoeFailed),
    ],
)
def test_a_refusal_says_whether_another_account_may_be_answered(status: int, words: str, fault: type[PoeError]) -> None:
    body = json.dumps({"error": {"type": "invalid_request_error", "message": words}}).encode()

    assert type(fault_of_response(status, {}, body)) is fault


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("You have exceeded rate limit to query bot using User API Key. Try again later.", RateLimited),
        ("Rate limit reached for gpt-9 in organization org-1", ProviderLimited),
        ("Error code: 429 - Too many requests", ProviderLimited),
    ],
)
def test_a_limit_in_an_event_is_the_accounts_only_in_poes_own_words(words: str, fault: type[PoeError]) -> None:
    assert type(fault_of_event("", words)) is fault
    assert type(fault_of_event("rate_limit_error", words)) is fault
