"""A call's signature travels within its id."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.core.chat_request import Message, Text, ToolCall, ToolResult
from proxy.core.signed_ids import parts_of_id, signed_id, without_signed_ids


@given(st.text(alphabet="abc_-0", min_size=1, max_size=20), st.text(min_size=1, max_size=50))
def test_both_come_back(call_id: str, signature: str) -> None:
    signed = signed_id(call_id, signature)

    assert parts_of_id(signed) == (call_id, signature)
    assert set(signed) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


@given(st.text(max_size=60))
def test_any_other_id_stays_as_it_is(call_id: str) -> None:
    assert parts_of_id(call_id) == (call_id, "")
    assert signed_id(call_id, "") == call_id
    broken = f"{call_id}__signed__\x00"
    assert parts_of_id(broken) == (broken, "")


def test_a_conversation_has_them_where_they_belong() -> None:
    signed = signed_id("c1", "proof")
    said = Message("user", [Text("hi")])
    conversation = [
        said,
        Message("assistant", [Text("on it"), ToolCall(signed, "f", "{}"), ToolCall("c2", "f", "{}")]),
        Message("tool", [ToolResult(signed, [Text("18")], "messages[2]")]),
    ]

    assert without_signed_ids(conversation) == [
        said,
        Message("assistant", [Text("on it"), ToolCall("c1", "f", "{}", "proof"), ToolCall("c2", "f", "{}")]),
        Message("tool", [ToolResult("c1", [Text("18")], "messages[2]")]),
    ]


def test_a_conversation_without_any_is_not_copied() -> None:
    conversation = [Message("assistant", [ToolCall("c1", "f", "{}")])]

    assert without_signed_ids(conversation) is conversation


def test_a_signature_of_the_clients_own_stands_above() -> None:
    call = ToolCall(signed_id("c1", "old"), "f", "{}", "new")

    [message] = without_signed_ids([Message("assistant", [call])])

    assert message.parts == [ToolCall("c1", "f", "{}", "new")]
