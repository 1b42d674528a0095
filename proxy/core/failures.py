"""Every way a request can fail, as one tree. Knows no wire format: each dialect has a table from kinds to its own.

========================= ======================= ============= ===========
class                     kind                    blame         another key
========================= ======================= ============= ===========
ProxyError                internal_error          nobody        no
├─ InvalidRequest         invalid_value           caller        no
│  └─ UnsupportedFeature  unsupported_feature     caller        no
├─ InvalidToken           invalid_api_key         caller        no
├─ RouteNotFound          unknown_url             caller        no
├─ ResponseNotFound       response_not_found      caller        no
├─ MethodNotAllowed       method_not_allowed      caller        no
├─ RequestTimeout         request_timeout         caller        no
├─ BodyTooLarge           request_too_large       caller        no
├─ UnsupportedEncoding    unsupported_encoding    caller        no
├─ HeadTooLarge           request_head_too_large  caller        no
├─ ClientLimited          rate_limit_exceeded     caller        no
├─ AdminLimited           rate_limit_exceeded     caller        no
├─ NoKeyReady             rate_limit_exceeded     nobody        no
├─ StoreUnavailable       store_unavailable       nobody        no
│  └─ StoreRefused        store_unavailable       nobody        no
├─ TooManyBodies          too_many_large_requests nobody        no
├─ Draining               draining                nobody        no
├─ NoPicture              no_image_generated      caller        no
├─ AnswerTooLarge         answer_too_large        nobody        no
├─ TooManyAnswers         too_many_large_answers  nobody        no
├─ NotTheJsonAskedFor     invalid_json_answer     nobody        no
└─ PoeError               internal_error          nobody        no
   ├─ RateLimited         rate_limit_exceeded     account       yes
   │  └─ ProviderLimited  rate_limit_exceeded     account_bot   yes
   ├─ OutOfPoints         insufficient_quota      account       yes
   ├─ SubscriptionRequired model_not_available    account_bot   yes
   ├─ RefusedHere         access_denied           account_bot   yes
   │  └─ RefusedWithoutReason access_denied       account_bot   yes
   ├─ KeyRefused          upstream_auth           key           yes
   ├─ ModelNotFound       model_not_found         caller        no
   ├─ PromptTooLong       context_length_exceeded caller        no
   ├─ RefusedByPolicy     content_policy_violation caller       no
   ├─ RefusedByBot        invalid_value           caller        no
   │  └─ ThoughtsRefused  invalid_value           caller        no
   ├─ FeatureRefused      unsupported_feature     caller        no
   ├─ EndpointRefused     unsupported_endpoint    nobody        no
   └─ PoeFailed           upstream_error          upstream      yes
      ├─ EmptyAnswer      empty_answer            upstream      yes
      ├─ StreamCut        upstream_error          upstream      yes
      │  └─ Dropped       upstream_error          upstream      yes
      ├─ PoeTimeout       upstream_timeout        upstream      yes
      └─ PoeUnreachable   upstream_unreachable    nobody        no
========================= ======================= ============= ===========

``tests/core/test_failures.py`` holds this tree to the classes. Failures of one layer stand there: ``store/refusal.py``,
``answer/bad_answers.py``, ``upstreams/poe/doubtful.py``, ``upstreams/poe/unreached.py``,
``upstreams/poe_rest/unserved.py``. PoeError itself is never raised; ``upstreams/poe/faults.py`` and
``upstreams/poe_rest/faults.py`` read Poe's answer as one of its kinds. Blame becomes a cooldown in
``keypool/verdict.py``. No key or token is ever part of a message; ``upstreams/poe/wording.py`` puts Poe's words
into some. Agents go by words such as "connection lost", "timed out", "server error".
"""

from enum import StrEnum
from typing import ClassVar

from proxy.durations import in_words


class Blame(StrEnum):
    """Who a failure is charged to."""

    NOBODY = "nobody"
    CALLER = "caller"
    KEY = "key"
    ACCOUNT = "account"
    ACCOUNT_BOT = "account_bot"
    UPSTREAM = "upstream"


class ProxyError(Exception):
    """The proxy itself failed, or could not say better what happened."""

    #: What it is, for logs, books and each dialect's table.
    kind: ClassVar[str] = "internal_error"
    blame: ClassVar[Blame] = Blame.NOBODY
    default_message: ClassVar[str] = "The proxy failed to handle this request."
    #: When waiting helps, in other words than its duration.
    when: str = ""

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        """Args: ``param`` the request field at fault; ``retry_after_s`` when trying again may help."""
        self._words = message or self.default_message
        self.param = param
        self.retry_after_s = retry_after_s
        super().__init__(self._words)

    @property
    def message(self) -> str:
        """What the caller is told: what happened and, where waiting helps, for how long. Few programs show headers."""
        if self.retry_after_s is None:
            return self._words
        return f"{self._words} {self.when or f'Try again in {in_words(self.retry_after_s)}.'}"

    @property
    def another_key_may_help(self) -> bool:
        """Whether the same request could succeed with another key."""
        return self.blame not in (Blame.NOBODY, Blame.CALLER)


class InvalidRequest(ProxyError):
    """A known field of the request has a wrong type or value."""

    kind = "invalid_value"
    blame = Blame.CALLER
    default_message = "The request is not valid."


class UnsupportedFeature(InvalidRequest):
    """The request asks for something that this proxy, or this bot, cannot do."""

    kind = "unsupported_feature"
    default_message = "This is not supported."


class InvalidToken(ProxyError):
    """No token, or one that is not known here."""

    kind = "invalid_api_key"
    blame = Blame.CALLER
    default_message = "Incorrect API key provided."


class RouteNotFound(ProxyError):
    """No such URL."""

    kind = "unknown_url"
    blame = Blame.CALLER
    default_message = "Unknown request URL."


class ResponseNotFound(ProxyError):
    """A response is asked for by its id; none are stored."""

    kind = "response_not_found"
    blame = Blame.CALLER
    default_message = "No such response: responses are not stored here. Send the whole conversation as 'input'."


class MethodNotAllowed(ProxyError):
    """The URL exists, for another method."""

    kind = "method_not_allowed"
    blame = Blame.CALLER
    default_message = "Method not allowed for this URL."


class RequestTimeout(ProxyError):
    """The client did not send its whole request in time."""

    kind = "request_timeout"
    blame = Blame.CALLER
    default_message = "The request did not arrive in time."


class BodyTooLarge(ProxyError):
    """The request body is over ``MAX_BODY_BYTES``."""

    kind = "request_too_large"
    blame = Blame.CALLER
    default_message = "The request body is too large."


class UnsupportedEncoding(ProxyError):
    """The body is encoded in a way that is not known here."""

    kind = "unsupported_encoding"
    blame = Blame.CALLER
    default_message = "This Content-Encoding is not supported."


class HeadTooLarge(ProxyError):
    """The request line and headers are too long, or too many."""

    kind = "request_head_too_large"
    blame = Blame.CALLER
    default_message = "The request's headers are too large."


class ClientLimited(ProxyError):
    """The client has used what its token allows; ``retry_after_s`` is when it may go on, None when it never may."""

    kind = "rate_limit_exceeded"
    blame = Blame.CALLER

    def __init__(
        self, limit: str, *, retry_after_s: float | None, said: str = "", when: str = "", left: int = 0
    ) -> None:
        """Args: ``limit`` which one, as ``requests_per_minute``; ``said`` it and its use, in words; ``left`` of it."""
        super().__init__(f"Rate limit reached for this token: {said or limit}.", retry_after_s=retry_after_s)
        self.limit, self.when, self.left = limit, when, left


class AdminLimited(ProxyError):
    """Too many wrong admin tokens came lately, or too many pages watch; waiting helps."""

    kind = "rate_limit_exceeded"
    blame = Blame.CALLER
    default_message = "Too many at once."


class NoKeyReady(ProxyError):
    """Every Poe key that could serve this is cooling down; ``retry_after_s`` is the true remaining time."""

    kind = "rate_limit_exceeded"
    default_message = "All Poe accounts of this proxy that could serve this request are busy or cooling down."


class StoreUnavailable(ProxyError):
    """Redis did not answer, or not in time, or refused; ``reason``, for operators alone, has what it said."""

    kind = "store_unavailable"
    default_message = "The shared state of the proxy is unavailable."

    def __init__(self, message: str | None = None, *, reason: str = "", retry_after_s: float = 1.0) -> None:
        self.reason = reason
        super().__init__(message, retry_after_s=retry_after_s)


class TooManyBodies(ProxyError):
    """The bodies of the requests under way take all the room there is for them (``MAX_BODIES_BYTES``)."""

    kind = "too_many_large_requests"
    default_message = "Too many large requests are under way here."

    def __init__(self) -> None:
        super().__init__(retry_after_s=1.0)


class Draining(ProxyError):
    """This worker ends, and the time for answers under way is over. Another one, or the next, will serve."""

    kind = "draining"
    default_message = "Connection lost: this instance is shutting down (server error)."

    def __init__(self) -> None:
        super().__init__(retry_after_s=1.0)


class NoPicture(ProxyError):
    """The bot was asked for a picture and gave none."""

    kind = "no_image_generated"
    blame = Blame.CALLER
    default_message = "The model answered without an image. Is it one that makes images?"


class PoeError(ProxyError):
    """Poe answered with a failure, or not at all."""

    def __init__(
        self,
        message: str | None = None,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        said: str = "",
        http_status: int | None = None,
    ) -> None:
        """Args: ``said`` Poe's own words, for logs only; ``http_status`` what Poe answered with."""
        super().__init__(message, param=param, retry_after_s=retry_after_s)
        self.said = said
        self.http_status = http_status


class RateLimited(PoeError):
    """Poe asks to slow down. ``retry_after_s`` is None when Poe did not say for how long."""

    kind = "rate_limit_exceeded"
    blame = Blame.ACCOUNT
    default_message = "Poe's rate limit is reached."


class OutOfPoints(PoeError):
    """The account has not enough points for this bot."""

    kind = "insufficient_quota"
    blame = Blame.ACCOUNT
    default_message = "This proxy has no Poe points left for this model. Its operator has to add some."


class SubscriptionRequired(PoeError):
    """This bot needs a Poe subscription that the account does not have."""

    kind = "model_not_available"
    blame = Blame.ACCOUNT_BOT
    default_message = "This model needs a Poe subscription that no available account has."


class KeyRefused(PoeError):
    """Poe does not accept the key."""

    kind = "upstream_auth"
    blame = Blame.KEY
    default_message = "Poe refused the proxy's key."


class ModelNotFound(PoeError):
    """The bot does not exist, is private, is not for the API, or is not allowed here."""

    kind = "model_not_found"
    blame = Blame.CALLER
    default_message = "The model does not exist or you do not have access to it."


class PromptTooLong(PoeError):
    """The conversation does not fit the bot's context window."""

    kind = "context_length_exceeded"
    blame = Blame.CALLER
    default_message = "This model's maximum context length is exceeded. Please reduce the length of the messages."


class RefusedByPolicy(PoeError):
    """Poe or the bot refused the content."""

    kind = "content_policy_violation"
    blame = Blame.CALLER
    default_message = "Poe refused this request on policy grounds."


class RefusedByBot(PoeError):
    """The bot called the request invalid."""

    kind = "invalid_value"
    blame = Blame.CALLER
    default_message = "The bot refused this request as invalid."


class FeatureRefused(PoeError):
    """The bot cannot do what the request asks for, such as calling tools."""

    kind = "unsupported_feature"
    blame = Blame.CALLER
    default_message = "This model does not support something that the request needs, such as tools."


class PoeFailed(PoeError):
    """Poe or the bot failed: a 5xx, an internal error, an answer that makes no sense."""

    kind = "upstream_error"
    blame = Blame.UPSTREAM
    default_message = "Poe failed to answer this request (server error)."


class StreamCut(PoeFailed):
    """The answer ended before Poe said it was done."""

    default_message = "Connection lost: Poe cut the answer off before it was complete (server error)."


class PoeTimeout(PoeFailed):
    """Poe was connected and did not answer in time."""

    kind = "upstream_timeout"
    default_message = "Request timed out: Poe did not answer in time (server error)."
