"""What the decoders of Poe's three endpoints have alike. Pure."""

from typing import Any, Protocol

import orjson

from proxy.core.deltas import Delta, FinishReason
from proxy.core.failures import PoeFailed
from proxy.core.usage import Usage
from proxy.upstreams.poe.payload import MalformedEventError, json_without_halves, read_payload
from proxy.upstreams.poe.sse import Event


class Decoder(Protocol):
    """Reads one answer of an endpoint, streamed or whole, as deltas. It never gives Finish or Usage as deltas.

    Attributes:
        key: the Poe key that asked; kept out of what the upstream says of failures.
        ended: the upstream has said that the answer is over; nothing of what follows counts.
        finish_reason: why, as far as it has been said; None = it was not.
        stop_sequence: that of the request which ended the answer, or "".
        usage: what the upstream reported last, or None.
    """

    key: str
    ended: bool
    finish_reason: FinishReason | None
    stop_sequence: str
    usage: Usage | None

    def read_event(self, event: Event) -> list[Delta]:
        """What one event of a stream adds. Raises PoeError: it says that the answer failed, or makes no sense."""

    def read_whole(self, body: dict[str, Any]) -> list[Delta]:
        """What a whole answer comes to; it has ended then. Raises PoeError: it makes no sense."""

    def end_of_body(self) -> list[Delta]:
        """What was held back when the body ends without an end having been said.

        Raises:
            StreamCut: the answer is not whole. One whose calls are whole may be, or whose finish reason was given.
        """


def payload_of(event: Event) -> dict[str, Any]:
    """The JSON object of an event; its texts hold whole characters only. Raises PoeFailed: there is none."""
    try:
        payload = orjson.loads(event.data)
    except orjson.JSONDecodeError:
        payload = _read_slowly(event)
    if not isinstance(payload, dict):
        raise PoeFailed(said="an event that is no JSON object")
    return payload


def _read_slowly(event: Event) -> Any:
    try:
        return json_without_halves(read_payload(event.data))
    except MalformedEventError:
        raise PoeFailed(said="an event that is no JSON") from None
