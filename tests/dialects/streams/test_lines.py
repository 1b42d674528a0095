"""Lines that every program reads alike."""

from proxy.dialects.streams.lines import PING


def test_a_heartbeat_is_a_comment() -> None:
    assert PING.startswith(b":")
    assert PING.endswith(b"\n\n")
