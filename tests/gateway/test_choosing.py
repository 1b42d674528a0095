"""Which of Poe's APIs a model is asked by."""

from typing import Any

import pytest

from proxy.core.chat_request import ChatRequest, FunctionTool, JsonAnswer, Message, Options, Text
from proxy.gateway.choosing import UpstreamChooser
from proxy.keypool.remembered_refusals import RememberedRefusals
from proxy.upstreams.poe_account.models import Bot, parse_bot


class NoRefusals(RememberedRefusals):
    """Refusals that this test's worker knows, with no Redis to ask."""

    def __init__(self) -> None:
        self.known: set[str] = set()

    def look(self) -> None:
        pass

    def knows(self, bot: str) -> bool:
        return bot in self.known

    def note(self, bot: str) -> None:
        self.known.add(bot)


CLAUDE = Bot("Claude", owned_by="Anthropic", endpoints=frozenset({"chat", "messages", "responses"}))
GPT = Bot("GPT", owned_by="OpenAI", endpoints=frozenset({"chat", "responses"}), parameters={"web_search": {}})
GEMINI = Bot("Gemini", owned_by="Google", endpoints=frozenset({"chat", "responses"}))
CODEX = Bot("Codex", owned_by="OpenAI", endpoints=frozenset({"responses"}))
PAINTER = Bot("Painter", owned_by="Google", endpoints=frozenset({"responses"}), is_of_text=False)
PRIVATE = Bot("Private", owned_by="somebody")
TOOL = FunctionTool("f", "tools[0]")


def upstreams(
    bot: Bot | None, dialect: str = "chat", *, default: str = "auto", by_model: Any = (), **request: Any
) -> Any:
    chooser = UpstreamChooser(default, by_model, NoRefusals())
    asked = ChatRequest([Message("user", [Text("hi")])], **request)
    return list(chooser.upstreams_for(bot.name if bot else "Unlisted", bot, asked, dialect))


@pytest.mark.parametrize(
    ("bot", "dialect", "expected"),
    [
        (CLAUDE, "messages", ["messages", "bot"]),
        (CLAUDE, "chat", ["messages", "bot"]),
        (CLAUDE, "responses", ["messages", "bot"]),
        (GPT, "chat", ["chat", "responses", "bot"]),
        (GPT, "responses", ["responses", "chat", "bot"]),
        (GPT, "messages", ["responses", "chat", "bot"]),
        (CODEX, "chat", ["responses", "bot"]),
        (GEMINI, "chat", ["chat", "bot"]),
        (GEMINI, "responses", ["chat", "bot"]),
        (PAINTER, "chat", ["bot"]),
        (GPT, "images", ["bot"]),
        (PRIVATE, "chat", ["bot"]),
        (None, "chat", ["bot"]),
    ],
)
def test_a_model_is_asked_by_its_own_endpoint(bot: Bot | None, dialect: str, expected: list[str]) -> None:
    assert upstreams(bot, dialect) == expected


def test_what_chat_does_not_enforce_goes_to_responses() -> None:
    json_answer = Options(json_answer=JsonAnswer("response_format"))
    thoughtful = Options(reasoning_effort="high")

    assert upstreams(GPT, options=json_answer)[0] == "responses"
    assert upstreams(GPT, tools=[TOOL], options=thoughtful)[0] == "responses"
    assert upstreams(GPT, tools=[TOOL])[0] == "chat"
    assert upstreams(GPT, options=thoughtful)[0] == "chat"


def test_a_parameter_of_the_bot_goes_where_it_is_known() -> None:
    asked = Options(more={"web_search": True})

    assert upstreams(GPT, "responses", options=asked) == ["chat", "bot"]
    assert upstreams(Bot("C", 0, "Anthropic", {"web_search": {}}, endpoints=CLAUDE.endpoints), options=asked) == ["bot"]


def test_settings_stand_above_what_suits_a_model() -> None:
    by_model = (("claude*", "chat"), ("g*", "auto"))

    assert upstreams(CLAUDE, default="bot", by_model=by_model) == ["chat", "bot"]
    assert upstreams(GPT, default="bot", by_model=by_model) == ["chat", "responses", "bot"]
    assert upstreams(CODEX, default="bot", by_model=by_model) == ["bot"]


def test_an_endpoint_that_refused_the_model_is_not_asked_again() -> None:
    refusals = NoRefusals()
    chooser = UpstreamChooser("auto", (), refusals)
    chooser.note_refusal("GPT", "chat")
    asked = ChatRequest([Message("user", [Text("hi")])])

    assert chooser.upstreams_for("GPT", GPT, asked, "chat") == ["responses", "bot"]
    assert chooser.upstreams_for("Gemini", GEMINI, asked, "chat") == ["chat", "bot"]


def test_the_list_says_which_endpoints_there_are() -> None:
    entry = {
        "id": "x",
        "supported_endpoints": ["/v1/responses", "/v1/videos", 7, None, "/v1/chat/completions"],
        "architecture": {"output_modalities": ["image", "text"]},
    }
    listed = parse_bot(entry)

    assert listed is not None
    assert (sorted(listed.endpoints), listed.is_of_text) == (["chat", "responses"], False)
    assert Bot.from_json(listed.as_json()) == listed
    for wrong in ({}, {"supported_endpoints": "x", "architecture": []}, {"architecture": {"output_modalities": 1}}):
        odd = parse_bot({"id": "x", **wrong})
        assert odd is not None
        assert not odd.endpoints
