"""What a request to any of the endpoints comes with."""

from typing import Any, NamedTuple

from proxy.demo.rest.models import Model
from proxy.demo.rest.prompt_cache import Owner

#: JSON objects, as they are read and written.
Json = dict[str, Any]


class Asked(NamedTuple):
    """A request that is checked as far as its model; ``account``: whose cache it uses."""

    model: Model
    body: Json
    account: str
    request_id: str

    @property
    def streams(self) -> bool:
        """Whether the answer is to come in pieces."""
        return self.body.get("stream") is True

    @property
    def owner(self) -> Owner:
        """Whose cache it is."""
        return self.account, self.model.name
