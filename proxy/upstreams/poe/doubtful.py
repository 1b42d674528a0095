"""Failures of which it is not known yet whom they are about: the key, its account, the bot or the request.

What becomes of the next attempt tells: see ``gateway/attempts.py``.
"""

from proxy.core.failures import Blame, PoeError, RateLimited


class ProviderLimited(RateLimited):
    """A bot says that it is limited, in words that are not Poe's: its provider slows the bot down, for all accounts."""

    blame = Blame.ACCOUNT_BOT
    default_message = "This model is rate limited by its provider."


class RefusedHere(PoeError):
    """Poe or the bot refused the request in words about the key or its account: another account may be answered."""

    kind = "access_denied"
    blame = Blame.ACCOUNT_BOT
    default_message = "No account of this proxy that was tried may make this request with this model."


class RefusedWithoutReason(RefusedHere):
    """Poe forbade the request, to nobody knows whom: one other account is asked, and if that agrees, to the caller."""

    default_message = "Poe refused this request and gave no reason."
