"""Failures of the transport, as Poe's."""

import pytest

from proxy.core.failures import PoeFailed, PoeTimeout, StreamCut
from proxy.upstreams.poe.reach import in_poes_terms, poe_failure_of
from proxy.upstreams.poe.unreached import Dropped, PoeUnreachable
from proxy.upstreams.transport import failures
from proxy.upstreams.transport.failures import TransportError


def subclasses(of: type[TransportError]) -> set[type[TransportError]]:
    return {of}.union(*(subclasses(one) for one in of.__subclasses__()))


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (failures.Unreachable("x", reason="dns"), PoeUnreachable),
        (failures.ConnectionDropped("x"), Dropped),
        (failures.ConnectionCut("x"), StreamCut),
        (failures.ReadTimeout("x"), PoeTimeout),
        (failures.RemoteProtocolError("x"), PoeFailed),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_each_failure_of_the_transport_has_a_meaning(error: TransportError, expected: type[PoeFailed]) -> None:
    with pytest.raises(PoeFailed) as caught, in_poes_terms():
        raise error

    assert type(caught.value) is expected
    assert caught.value.said == "x"


@pytest.mark.parametrize("kind", sorted(subclasses(TransportError), key=str))
def test_no_failure_of_the_transport_is_left_out(kind: type[TransportError]) -> None:
    assert poe_failure_of(kind("what happened")).said == "what happened"


def test_why_a_connection_could_not_be_made_is_kept() -> None:
    """It is what is counted."""
    failure = poe_failure_of(failures.Unreachable("x", reason="dns"))

    assert isinstance(failure, PoeUnreachable)
    assert failure.reason == "dns"
