"""Reads a stream as strictly as Anthropic's clients do, and puts the message together."""

import json
from typing import Any, Final

#: Block type → its deltas, and the field that each adds to.
_FIELDS: Final = {
    "text": {"text_delta": "text"},
    "thinking": {"thinking_delta": "thinking", "signature_delta": "signature"},
    "tool_use": {"input_json_delta": "partial_json"},
}


def events(raw: bytes) -> list[dict[str, Any]]:
    """The data of each event; the framing must be exact."""
    *frames, end = raw.decode().split("\n\n")
    assert end == ""
    read = []
    for frame in frames:
        name, data = frame.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        assert len(data.splitlines()) == 1
        read.append(value)
    return read


def accumulated(raw: bytes) -> dict[str, Any]:
    """The message that a whole stream makes; every event must be where it may be."""
    first, *rest = [event for event in events(raw) if event["type"] != "ping"]
    assert first["type"] == "message_start"
    message: dict[str, Any] = first["message"]
    assert message["content"] == []
    is_open, is_ended = False, False
    for event in rest[:-1]:
        match event:
            case {"type": "content_block_start", "index": index, "content_block": block}:
                assert not is_open
                assert not is_ended
                assert index == len(message["content"])
                assert block.get("text", "") == block.get("thinking", "") == block.get("signature", "") == ""
                message["content"].append({**block, "partial_json": ""} if block["type"] == "tool_use" else block)
                is_open = True
            case {"type": "content_block_delta", "index": index, "delta": delta}:
                block = message["content"][-1]
                assert is_open
                assert index == len(message["content"]) - 1
                name = _FIELDS[block["type"]][delta["type"]]
                block[name] += delta[name]
            case {"type": "content_block_stop", "index": index}:
                assert is_open
                assert index == len(message["content"]) - 1
                is_open = False
                block = message["content"][-1]
                if block["type"] == "tool_use":
                    assert block["input"] == {}
                    block["input"] = json.loads(block.pop("partial_json") or "{}")
            case {"type": "message_delta", "delta": delta, "usage": usage}:
                assert not is_open
                assert not is_ended
                message.update(delta)
                message["usage"] = usage
                is_ended = True
            case _:
                raise AssertionError(event)
    assert is_ended
    assert rest[-1] == {"type": "message_stop"}
    return message
