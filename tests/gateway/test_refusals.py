"""What a caller is told when no key is to be had: which limit, how much of it is used, and until when."""

import pytest

from proxy.clients.limits import ClientRefused
from proxy.core.failures import ProxyError
from proxy.gateway.refusals import refusal_of
from proxy.keypool.lease import COOLING_FOR_BOT, BotCooldown, NoneReady

MIDNIGHT = "Resets at 00:00 UTC, in 10 h 18 min."
WHOLE_DAY_S = 37_080.0


@pytest.mark.parametrize(
    ("refused", "words"),
    [
        (
            ClientRefused("requests_per_minute", 49.3, limit=60, used=60, wanted=1),
            "60 requests per minute, 60 used. Try again in 50 s.",
        ),
        (
            ClientRefused("requests_per_minute", 9, limit=60, used=55, wanted=10),
            "60 requests per minute, 55 used, and this request asks for 10. Try again in 9 s.",
        ),
        (
            ClientRefused("requests_per_day", WHOLE_DAY_S, limit=500, used=500, wanted=1),
            f"500 requests per day, 500 used. {MIDNIGHT}",
        ),
        (
            ClientRefused("tokens_per_day", WHOLE_DAY_S, limit=200_000, used=199_800, wanted=1_200),
            f"200,000 tokens per day, 199,800 used, and this request asks for 1,200. {MIDNIGHT}",
        ),
        (
            ClientRefused("tokens_per_day", 1, limit=200_000, used=150_000, held=49_900, wanted=1_200),
            (
                "200,000 tokens per day, 150,000 used, 49,900 reserved for requests under way, and this request "
                "asks for 1,200. Try again in 1 s."
            ),
        ),
        (ClientRefused("streams", 1, limit=2, held=2, wanted=1), "2 requests at once, 2 under way. Try again in 1 s."),
        (
            ClientRefused("streams", None, limit=2, wanted=3),
            (
                "2 requests at once, 0 under way, and this request asks for 3. It can never be let in, "
                "so do not send it again."
            ),
        ),
        (
            ClientRefused("streams", None, limit=4, wanted=3, part=2),
            (
                "4 requests at once, 0 under way, 2 to be used here while the proxy's shared state is away, and this "
                "request asks for 3."
            ),
        ),
        (
            ClientRefused("requests_per_minute", 20, limit=100, used=25, wanted=1, part=25),
            (
                "100 requests per minute, 25 used, 25 to be used here while the proxy's shared state is away. "
                "Try again in 20 s."
            ),
        ),
    ],
)
def test_a_client_is_told_limit_use_and_reset(refused: ClientRefused, words: str) -> None:
    assert refusal_of(refused).message == f"Rate limit reached for this token: {words}"


@pytest.mark.parametrize(
    ("reply", "code"),
    [
        (BotCooldown(12), "upstream_error"),
        (NoneReady(12, 12), "rate_limit_exceeded"),
        *(
            (NoneReady(12, 12, skipped=[("k", COOLING_FOR_BOT)], bot_cooldowns=outcome), code)
            for outcome, code in {
                "model_not_available": "model_not_available",
                "insufficient_quota": "insufficient_quota",
                "rate_limit_exceeded": "rate_limit_exceeded",
                "failed_here_only": "rate_limit_exceeded",
            }.items()
        ),
    ],
)
def test_every_refusal_that_ends_says_when_and_speaks_of_no_key(reply: NoneReady | BotCooldown, code: str) -> None:
    error: ProxyError = refusal_of(reply)

    assert error.kind == code
    assert error.message.endswith("Try again in 12 s.")
    assert "key" not in error.message
