"""Tools that the upstream itself would run."""

import pytest

from proxy.core.chat_request import ChatRequest, ChosenTool, FunctionTool, HostedTool, Message, Text
from proxy.core.failures import UnsupportedFeature
from proxy.upstreams.poe_bot.plan import Plan, build_plan

SEARCH = HostedTool("web_search", "tools.0.type")
READ = FunctionTool("read", "tools.1")
SCHEMAS = {"web_search": {"type": "boolean"}}


def request(*tools: FunctionTool | HostedTool, choice: ChosenTool | None = None) -> ChatRequest:
    chat = ChatRequest([Message("user", [Text("Hi")])], "GPT-5", tools=tools)
    if choice is not None:
        chat.tool_choice = choice
    return chat


def offered(plan: Plan) -> list[str]:
    return [tool["function"]["name"] for tool in plan.offer.tools]


def test_a_bot_that_can_search_is_told_to() -> None:
    plan = build_plan(request(SEARCH, READ), SCHEMAS)

    assert plan.query.messages[-1].parameters == {"web_search": True}
    assert offered(plan) == ["read"]


def test_a_request_for_a_search_alone_is_a_search() -> None:
    plan = build_plan(request(SEARCH, choice=ChosenTool("web_search", "web_search")), SCHEMAS)

    assert plan.query.messages[-1].parameters == {"web_search": True}
    assert offered(plan) == []


def test_beside_other_tools_a_search_that_the_bot_lacks_is_left_out() -> None:
    assert offered(build_plan(request(SEARCH, READ))) == ["read"]


@pytest.mark.parametrize(
    "chat", [request(SEARCH), request(SEARCH, READ, choice=ChosenTool("web_search", "web_search"))]
)
def test_a_search_that_is_all_that_is_wanted_is_refused_by_name(chat: ChatRequest) -> None:
    with pytest.raises(UnsupportedFeature, match="'web_search'") as caught:
        build_plan(chat)

    assert caught.value.param == "tools.0.type"


def test_other_hosted_tools_are_refused_by_name() -> None:
    with pytest.raises(UnsupportedFeature, match="'code_execution'"):
        build_plan(request(HostedTool("code_execution", "tools.0.type"), READ))
