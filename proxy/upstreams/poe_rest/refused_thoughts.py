"""What a provider says when thoughts of an earlier answer come back that it did not sign, or not for this account."""

from proxy.core.failures import RefusedByBot


class ThoughtsRefused(RefusedByBot):
    """The signature of earlier thoughts is not accepted. Without these thoughts the request may be answered."""
