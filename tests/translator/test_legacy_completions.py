"""Legacy completions and requests for images, as chats."""

import json
import math
import time
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.openai_api.completions import parse_completion_request
from proxy.openai_api.images import parse_image_request
from proxy.openai_api.request import ChatCompletionRequest
from proxy.translator.files import picture_urls
from proxy.translator.legacy_completions import chat_of_completion, chat_of_image
from proxy.translator.parameters import Schemas
from proxy.translator.request import build_plan

ASPECT: Final = {"enum": ["1:1", "16:9", "9:16", "4:3"]}
SIZES: Final = {"enum": ["1024x1024", "1536x1024"]}


def completion(**fields: Any) -> ChatCompletionRequest:
    return chat_of_completion(parse_completion_request(json.dumps({"prompt": "Once", **fields}).encode()))


def image(schemas: Schemas, **fields: Any) -> ChatCompletionRequest:
    return chat_of_image(parse_image_request(json.dumps({"prompt": "A cat", **fields}).encode()), "Painter", schemas)


def drawn_with(schemas: Schemas, **fields: Any) -> dict[str, Any]:
    """The parameters that the bot is asked with."""
    (message,) = build_plan(image(schemas, **fields), schemas).query.messages
    return dict(message.parameters)


class TestCompletions:
    def test_a_prompt_that_is_echoed_has_a_bound(self) -> None:
        """It is sent back once for each choice."""
        completion(prompt="x" * 100_000, echo=True, n=10)
        completion(prompt="x" * 100_001)
        with pytest.raises(UnsupportedFeature) as caught:
            completion(prompt="x" * 100_001, echo=True)

        assert caught.value.param == "echo"

    @pytest.mark.parametrize("prompt", ["Once", ["Once"]])
    def test_a_prompt_is_what_a_user_says(self, prompt: object) -> None:
        chat = completion(prompt=prompt)

        assert [(message.role, message.content) for message in chat.messages] == [("user", "Once")]

    @pytest.mark.parametrize("prompt", [[], ["a", "b"], [1, 2, 3], [[1, 2]], [None], [{}], None, 7, {}])
    def test_any_other_prompt_is_refused_by_name(self, prompt: object) -> None:
        with pytest.raises(InvalidRequest) as caught:
            completion(prompt=prompt)

        assert caught.value.param == "prompt"

    def test_what_both_have_is_carried_over(self) -> None:
        fields = {
            "model": "Echo",
            "max_tokens": 5,
            "n": 2,
            "stop": ["a", "b"],
            "stream": True,
            "temperature": 0,
            "top_p": 1,
            "logit_bias": {"1": 2},
        }
        chat = completion(**fields, stream_options={"include_usage": True})

        assert {name: getattr(chat, name) for name in fields} == fields
        assert chat.stream_options is not None
        assert chat.stream_options.include_usage is True

    def test_fields_of_the_bots_own_are_carried_over(self) -> None:
        chat = completion(thinking_budget=5, messages=[{"role": "user", "content": "something else"}])

        assert chat.model_extra == {"thinking_budget": 5}
        assert [message.content for message in chat.messages] == ["Once"]

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"suffix": "the end"}, "suffix"),
            ({"best_of": 2}, "best_of"),
            ({"best_of": 3, "n": 2}, "best_of"),
            ({"logprobs": 1}, "logprobs"),
        ],
    )
    def test_what_a_chat_cannot_do_is_refused_by_name(self, fields: dict[str, Any], param: str) -> None:
        with pytest.raises(UnsupportedFeature) as caught:
            completion(**fields)

        assert caught.value.param == param

    @pytest.mark.parametrize("fields", [{"suffix": ""}, {"best_of": 1}, {"best_of": 2, "n": 2}, {"logprobs": 0}])
    def test_asking_for_nothing_special_is_no_feature(self, fields: dict[str, Any]) -> None:
        assert completion(**fields).messages == completion().messages

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"reasoning_effort": 7}, "reasoning_effort"),
            ({"tools": [7]}, "tools[0]"),
            ({"response_format": "json"}, "response_format"),
            ({"modalities": "text"}, "modalities"),
            ({"tool_choice": {}}, "tool_choice.type"),
        ],
    )
    def test_a_chats_own_field_is_checked_as_there(self, fields: dict[str, Any], param: str) -> None:
        """In the words of JSON, not of Python."""
        with pytest.raises(InvalidRequest) as caught:
            completion(**fields)

        assert caught.value.param == param
        assert not {"dictionary", "list", "instance"} & set(caught.value.message.split())


class TestImages:
    def test_a_prompt_is_what_a_user_says_to_the_bot(self) -> None:
        chat = image({}, model="dall-e-3", n=2)

        assert (chat.model, chat.n) == ("Painter", 2)
        assert [(message.role, message.content) for message in chat.messages] == [("user", "A cat")]

    @pytest.mark.parametrize(
        ("size", "schemas", "parameters"),
        [
            ("1024x1024", {"size": SIZES}, {"size": "1024x1024"}),
            ("1792x1024", {"size": SIZES}, {"size": "1536x1024"}),
            ("1024x1024", {"aspect_ratio": ASPECT}, {"aspect_ratio": "1:1"}),
            ("1792x1024", {"aspect": ASPECT}, {"aspect": "16:9"}),
            ("1024x1792", {"aspect": ASPECT}, {"aspect": "9:16"}),
            ("1000x800", {"aspect": ASPECT}, {"aspect": "4:3"}),
            ("99999x10", {"aspect": ASPECT}, {"aspect": "16:9"}),
            ("640x480", {"width": {"type": "integer"}, "height": {}}, {"width": 640, "height": 480}),
            ("640x480", {"width": {"type": "integer"}, "aspect": ASPECT}, {"aspect": "4:3"}),
            ("1024x1024", {"image_size": {"enum": ["1K", "2K"]}, "aspect": ASPECT}, {"aspect": "1:1"}),
            ("1024x1024", {"image_size": {"enum": ["1K", "2K"]}}, {}),
            ("1024x1024", {"size": {"type": "string"}}, {}),
            ("1024x1024", {"aspect": {"enum": ["auto", None, 7, [1], "0:1", "1:0", "16 / 9"]}}, {"aspect": "16 / 9"}),
            ("auto", {"size": SIZES, "aspect": ASPECT, "width": {}, "height": {}}, {}),
            (None, {"size": SIZES}, {}),
            ("1024x1024", {}, {}),
        ],
        ids=str,
    )
    def test_a_size_is_put_in_the_bots_terms(
        self, size: str | None, schemas: Schemas, parameters: dict[str, Any]
    ) -> None:
        """The same size, the nearest of its shapes, width and height, or nothing."""
        assert drawn_with(schemas, size=size) == parameters

    def test_fields_of_the_bots_own_are_carried_over_and_others_left_out(self) -> None:
        schemas: Schemas = {"quality": {"enum": ["low", "high"]}, "style": {}}

        assert drawn_with(schemas, quality="high", style="vivid", background="transparent", user="me") == {
            "quality": "high",
            "style": "vivid",
        }

    def test_a_value_that_the_bot_does_not_take_is_named(self) -> None:
        with pytest.raises(InvalidRequest) as caught:
            drawn_with({"quality": {"enum": ["low", "high"]}}, quality="hd")

        assert caught.value.param == "quality"

    @pytest.mark.parametrize("name", ["messages", "model", "n", "prompt", "stream", "tools", "response_format"])
    def test_a_parameter_with_an_unlucky_name_changes_nothing(self, name: str) -> None:
        assert drawn_with({name: {}}, n=1, response_format="url") == {}

    def test_a_field_that_is_no_parameter_of_the_bots_is_not_looked_at(self) -> None:
        """A field of chats would mean something else there."""
        assert image({}, tools=[7], stop=7, temperature="hot", messages=7).model_extra == {}

    def test_images_are_not_streamed(self) -> None:
        with pytest.raises(UnsupportedFeature) as caught:
            image({}, stream=True)

        assert caught.value.param == "stream"
        assert image({}, stream=False).stream is None

    @given(
        width=st.integers(10, 99_999),
        height=st.integers(10, 99_999),
        ratios=st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), min_size=1, max_size=9, unique=True),
    )
    def test_no_other_shape_of_the_bots_is_nearer(self, width: int, height: int, ratios: list[tuple[int, int]]) -> None:
        names = {f"{across}:{down}": across / down for across, down in ratios}
        chosen = drawn_with({"aspect": {"enum": list(names)}}, size=f"{width}x{height}")["aspect"]

        def distance(name: str) -> float:
            return abs(math.log(names[name] / (width / height)))

        assert distance(chosen) == min(map(distance, names))


class TestPicturesOfAnAnswer:
    @pytest.mark.parametrize(
        ("answer", "urls"),
        [
            ("", []),
            ("I cannot draw that.", []),
            ("![a cat](https://example.com/1.png)", ["https://example.com/1.png"]),
            (
                "![](http://example.com/1.png) and ![b](https://example.com/2.png)",
                [
                    "http://example.com/1.png",
                    "https://example.com/2.png",
                ],
            ),
            ("![a](https://pfst.cf2.poecdn.net/x)\n\nhttps://pfst.cf2.poecdn.net/x", ["https://pfst.cf2.poecdn.net/x"]),
            (
                "Look: https://pfst.cf2.poecdn.net/x?w=1 (2x: https://pfst.cf2.poecdn.net/x?w=2)",
                ["https://pfst.cf2.poecdn.net/x?w=1", "https://pfst.cf2.poecdn.net/x?w=2"],
            ),
            ("[a cat](https://pfst.cf2.poecdn.net/x)", ["https://pfst.cf2.poecdn.net/x"]),
            ("[a page](https://example.com/)", []),
            ("![a](data:image/png;base64,AAAA)", []),
            ("![a](javascript:alert(1))", []),
            ("![a](https://example.com/a b.png)", []),
            ("![a](https://example.com/1) ![b](https://example.com/1)", ["https://example.com/1"]),
        ],
        ids=lambda value: str(value)[:50],
    )
    def test_each_picture_is_found_once(self, answer: str, urls: list[str]) -> None:
        """What is shown as a picture; where there is none, whatever lies at Poe."""
        assert picture_urls(answer) == urls

    @pytest.mark.parametrize(
        "piece", ["![", "![](http://", "![a](https://x", "https://", "a.", "https://a.", "https://a.poecdn.net/"]
    )
    def test_a_hostile_answer_is_read_at_once(self, piece: str) -> None:
        """As long as Poe lets one be; this happens in a worker's event loop."""
        started_at = time.monotonic()
        picture_urls("https://" + piece * (512_000 // len(piece)))

        assert time.monotonic() - started_at < 2
