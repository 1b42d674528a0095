"""The models that the local Poe serves over REST, asked as bots."""

import json
from typing import Any

import fastapi_poe as fp

from proxy.demo.rest.bots import ModelBot


async def test_a_model_is_a_bot_too() -> None:
    """It calls tools there as it does over REST."""
    query = fp.QueryRequest(
        query=[fp.ProtocolMessage(role="user", content="look there")],
        user_id="",
        conversation_id="",
        message_id="",
        version="1.2",
        type="query",
    )
    bot: Any = ModelBot(path="/bot/GPT-Demo")
    said = [part.text async for part in bot.get_response(query)]
    function = {"name": "look", "description": "", "parameters": {"type": "object", "properties": {"place": {}}}}
    query.tools = [fp.ToolDefinition.model_validate({"type": "function", "function": function})]
    called = [json.loads(event.data) async for event in bot.get_response(query)]

    assert "".join(said) == "look there"
    (call,) = called[0]["choices"][0]["delta"]["tool_calls"]
    assert call["function"] == {"name": "look", "arguments": '{"place": "place"}'}
    assert called[-1]["choices"][0]["finish_reason"] == "tool_calls"
