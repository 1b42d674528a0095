"""Whose doing an end was: of the caller, or of a key, Poe or this proxy."""

import pytest

from proxy.answer.bad_answers import AnswerTooLarge, EmptyAnswer, NotTheJsonAskedFor
from proxy.core import failures
from proxy.outcomes import CLIENT_LIMITS, is_failure, is_refusal, refusals_in
from proxy.server.observability.call_log import Outcome


@pytest.mark.parametrize(
    "error",
    [
        failures.InvalidRequest(),
        failures.UnsupportedFeature(),
        failures.BodyTooLarge(),
        failures.ModelNotFound(),
        failures.PromptTooLong(),
        failures.RefusedByPolicy(),
        failures.RefusedByBot(),
        failures.FeatureRefused(),
        failures.NoPicture(),
        *(failures.ClientLimited(limit, retry_after_s=1) for limit in sorted(CLIENT_LIMITS)),
    ],
    ids=lambda error: f"{type(error).__name__} {getattr(error, 'limit', '')}",
)
def test_what_the_caller_brought_about_is_a_refusal(error: failures.ProxyError) -> None:
    outcome = Outcome()
    outcome.fail(error)

    assert is_refusal(outcome.outcome)
    assert not is_failure(outcome.outcome)


@pytest.mark.parametrize(
    "error",
    [
        failures.ProxyError(),
        failures.NoKeyReady(),
        failures.StoreUnavailable(),
        failures.Draining(),
        NotTheJsonAskedFor(),
        AnswerTooLarge(),
        EmptyAnswer(),
        failures.RateLimited(),
        failures.OutOfPoints(),
        failures.SubscriptionRequired(),
        failures.KeyRefused(),
        failures.PoeFailed(),
        failures.StreamCut(),
        failures.PoeTimeout(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_what_it_did_not_is_a_failure(error: failures.ProxyError) -> None:
    """Also a 429 of the pool, which has the code of a client's own limits."""
    outcome = Outcome()
    outcome.fail(error)

    assert is_failure(outcome.outcome)
    assert not is_refusal(outcome.outcome)


@pytest.mark.parametrize("outcome", ["bot_failed", "failed_here_only", "upload_failed"])
def test_an_attempt_that_failed_is_a_failure(outcome: str) -> None:
    assert is_failure(outcome)


@pytest.mark.parametrize("outcome", ["answered", "client_left", "abandoned"])
def test_an_answer_is_neither(outcome: str) -> None:
    assert not is_failure(outcome)
    assert not is_refusal(outcome)


def test_refusals_are_counted_among_all() -> None:
    assert refusals_in({"answered": 9, "model_not_found": 2, "streams": 3, "upstream_error": 4}) == 5
