"""The head of a stream is put on the wire in fewer steps than Sanic takes, and comes to the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sanic import HTTPResponse

from proxy.server.sse import _Head

VALUES = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.integers()


@given(headers=st.dictionaries(st.sampled_from(["x-request-id", "x-why", "retry-after", "vary"]), VALUES))
def test_a_streams_head_is_sanics(headers: dict[str, str]) -> None:
    """Whatever stands in it; line ends above all, which would begin another header."""
    ours, sanics = (kind(headers=dict(headers), content_type="text/event-stream") for kind in (_Head, HTTPResponse))

    assert list(ours.processed_headers) == list(sanics.processed_headers)


@pytest.mark.parametrize("name", ["x-request-id", "x-why"])
def test_nobody_adds_a_header_to_a_streams_head(name: str) -> None:
    head = dict(_Head(headers={name: "a\r\nset-cookie: b"}).processed_headers)

    assert not any(b"\r" in value or b"\n" in value for value in head.values())
