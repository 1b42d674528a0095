"""Parts of a message: what is text, what becomes a file, and what is refused by its place."""

import base64
import json
import re
import time
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.failures import InvalidRequest, UnsupportedFeature
from proxy.dialects.openai_chat.parse import parse_chat_request
from proxy.upstreams.poe.file_types import type_of
from proxy.upstreams.poe.files import EmbeddedFile, RemoteFile
from proxy.upstreams.poe_bot.attachments import FileToAttach
from proxy.upstreams.poe_bot.plan import build_plan
from proxy.upstreams.poe_bot.query import Message

PIXEL: Final = "iVBORw0KGgo="
PLACE: Final = "messages[0].content[1]"


def messages(*turns: dict[str, Any]) -> list[Message]:
    return list(build_plan(parse_chat_request(json.dumps({"messages": turns}).encode()).request).query.messages)


def file_of(part: dict[str, Any]) -> FileToAttach:
    """The one file that a part becomes, beside a text."""
    (message,) = messages({"role": "user", "content": [{"type": "text", "text": "See:"}, part]})
    (file,) = message.files
    assert message.content == "See:"
    return file


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def document(**file: Any) -> dict[str, Any]:
    return {"type": "file", "file": file}


def refused(part: dict[str, Any]) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        file_of(part)
    assert len(caught.value.message) < 250
    return caught.value


class TestImages:
    def test_a_url_is_left_to_poe(self) -> None:
        assert file_of(image("https://example.com/a/cat.png?size=1")) == RemoteFile(
            "https://example.com/a/cat.png?size=1", "cat.png", f"{PLACE}.image_url.url"
        )

    def test_a_bare_string_is_a_url_too(self) -> None:
        """Some clients leave out the object around it."""
        assert file_of({"type": "image_url", "image_url": "https://example.com/cat.png"}) == RemoteFile(
            "https://example.com/cat.png", "cat.png", f"{PLACE}.image_url"
        )

    @pytest.mark.parametrize(
        ("url", "name"),
        [
            ("https://example.com", "image"),
            ("https://example.com/", "image"),
            ("https://example.com/..", "image"),
            ("https://example.com/%2e%2e%2fetc%2fpasswd", "passwd"),
            ("https://example.com/a%0d%0ab.png", "ab.png"),
            ("https://example.com/%E7%8C%AB.png", "猫.png"),
            ("https://example.com/a.png#b", "a.png"),
            ("HTTPS://EXAMPLE.COM/A.PNG", "A.PNG"),
            ("http://[::1]:8080/a.png", "a.png"),
        ],
    )
    def test_a_url_names_its_file(self, url: str, name: str) -> None:
        assert file_of(image(url)).name == name

    @pytest.mark.parametrize(
        ("url", "content_type", "name", "content"),
        [
            (f"data:image/png;base64,{PIXEL}", "image/png", "image.png", b"\x89PNG\r\n\x1a\n"),
            (f"DATA:Image/PNG;BASE64,{PIXEL}", "image/png", "image.png", b"\x89PNG\r\n\x1a\n"),
            (f"data:image/png;charset=utf-8;base64,{PIXEL}", "image/png", "image.png", b"\x89PNG\r\n\x1a\n"),
            ("data:image/png;base64,iVBORw0KGgo%3D", "image/png", "image.png", b"\x89PNG\r\n\x1a\n"),
            ("data:image/svg+xml,%3Csvg%20a=%22b%22/%3E", "image/svg+xml", "image.svg", b'<svg a="b"/>'),
            ("data:image/svg+xml;utf8=yes,<svg>é</svg>", "image/svg+xml", "image.svg", "<svg>é</svg>".encode()),
            ("data:text/plain,a%FFb", "text/plain", "image.txt", b"a\xffb"),
            (f"data:;base64,{PIXEL}", "image/png", "image.png", b"\x89PNG\r\n\x1a\n"),
            (f"data:application/octet-stream;base64,{PIXEL}", "image/png", "image.png", b"\x89PNG\r\n\x1a\n"),
            ("data:,%89PNG%0D%0A%1A%0A", "image/png", "image.png", b"\x89PNG\r\n\x1a\n"),
            ("data:image/jpg;base64,/9j/4AAQ", "image/jpeg", "image.jpg", b"\xff\xd8\xff\xe0\x00\x10"),
            ("data:image/png;base64,/9j/4AAQ", "image/jpeg", "image.jpg", b"\xff\xd8\xff\xe0\x00\x10"),
            ("data:image/jpg;base64,YQ==", "image/jpeg", "image.jpg", b"a"),
            ("data:;base64,R0lGODlhAQABAA==", "image/gif", "image.gif", b"GIF89a\x01\x00\x01\x00"),
            ("data:text/plain;base64,JVBERi0=", "text/plain", "image.txt", b"%PDF-"),
        ],
        ids=lambda value: str(value)[:40],
    )
    def test_a_data_url_is_a_file(self, url: str, content_type: str, name: str, content: bytes) -> None:
        file = file_of(image(url))

        assert isinstance(file, EmbeddedFile)
        assert (file.content_type, file.name, file.param) == (content_type, name, f"{PLACE}.image_url.url")
        assert base64.b64decode(file.data) == content

    @pytest.mark.parametrize(
        "url",
        [
            "",
            "cat.png",
            "ftp://example.com/cat.png",
            "file:///etc/passwd",
            "javascript:alert(1)",
            "//example.com/cat.png",
            "https:///cat.png",
            "https://",
            "https://[::1/cat.png",
            "https://exa mple.com/cat.png",
            "https://example.com/a cat.png",
            "https://example.com/a\ncat.png",
            " https://example.com/cat.png",
            "https://example.com/\x7f",
            "https://example.com/" + "a" * 10_000,
            "data:",
            "data:image/png",
            "data:image/png;base64",
            "data:image;base64,AAAA",
            "data:base64,AAAA",
            "data: image/png;base64,AAAA",
            "data:ïmage/pñg;base64,AAAA",
            "data:image/png\r\nx-evil: 1;base64,AAAA",
            "data:image/png" + ";a=b" * 1_000 + "AAAA",
            "data:,a%FFb",
            "data:;base64,YQ==",
            "data:application/octet-stream;base64,AAECAw==",
            "data:;base64,",
            "data:;base64,UklGRgAAAABXQVZF",
        ],
        ids=lambda url: repr(url[:40]),
    )
    def test_what_is_no_url_is_refused(self, url: str) -> None:
        assert refused(image(url)).param == f"{PLACE}.image_url.url"
        assert refused({"type": "image_url", "image_url": url}).param == f"{PLACE}.image_url"

    @pytest.mark.parametrize(
        ("url", "words"),
        [
            ("https://example.com/a cat.png", "a blank or control character at position 21"),
            ("https://example.com/a\tcat.png", "a blank or control character at position 21"),
            ("https://example.com/" + "a" * 8_980, "the URL has 9000 characters, at most 8192"),
            ("ftp://example.com/cat.png", "must be an http(s) or data URL"),
            ("data:;base64,AAECAw==", "begin it with its media type"),
        ],
        ids=lambda value: value[:30],
    )
    def test_the_true_cause_is_told(self, url: str, words: str) -> None:
        assert words in refused(image(url)).message

    def test_much_that_is_percent_encoded_is_refused_at_once(self) -> None:
        """Decoding 30 MB of it would hold up a worker for seconds."""
        began_at = time.process_time()
        error = refused(image("data:image/png," + "%41" * 5_000_000))

        assert error.param == f"{PLACE}.image_url.url"
        assert "base64" in error.message
        assert time.process_time() - began_at < 2

    def test_a_large_file_in_base64_is_not_looked_at(self) -> None:
        data = "A" * 8_000_000
        file = file_of(image("data:image/png;base64," + data))

        assert isinstance(file, EmbeddedFile)
        assert len(file.data) == len(data)


class TestFiles:
    def test_bare_base64_is_what_its_name_says(self) -> None:
        assert file_of(document(file_data="JVBERi0=", filename="report.pdf")) == EmbeddedFile(
            "JVBERi0=", "application/pdf", "report.pdf", f"{PLACE}.file.file_data"
        )

    @pytest.mark.parametrize(
        ("content", "content_type", "name"),
        [
            (b"%PDF-1.7", "application/pdf", "file.pdf"),
            (b"PK\x03\x04", "application/zip", "file.zip"),
            (b"a,b\n1,2\n", "text/plain", "file.txt"),
            ("é中".encode() * 4_000, "text/plain", "file.txt"),
            (b"\x00\x01\x02", "application/octet-stream", "file.bin"),
        ],
    )
    def test_a_file_without_a_name_is_what_its_bytes_say(self, content: bytes, content_type: str, name: str) -> None:
        data = base64.b64encode(content).decode()

        for stated in (data, f"data:application/octet-stream;base64,{data}", f"data:;base64,{data}"):
            assert file_of(document(file_data=stated)) == EmbeddedFile(
                data, content_type, name, f"{PLACE}.file.file_data"
            )

    @pytest.mark.parametrize(
        ("filename", "content_type"),
        [
            ("a.docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"),
            ("a.csv", "text/csv"),
            ("a.unknown", "application/zip"),
        ],
    )
    def test_an_archive_is_what_its_name_says(self, filename: str, content_type: str) -> None:
        """The formats of office programs are archives."""
        assert file_of(document(file_data="UEsDBA==", filename=filename)) == EmbeddedFile(
            "UEsDBA==", content_type, filename, f"{PLACE}.file.file_data"
        )

    def test_a_data_url_says_its_type_itself(self) -> None:
        file = file_of(document(file_data="data:application/pdf;base64,JVBERi0=", filename="report.txt"))

        assert file == EmbeddedFile("JVBERi0=", "application/pdf", "report.txt", f"{PLACE}.file.file_data")

    def test_a_name_without_an_ending_gets_that_of_its_type(self) -> None:
        assert file_of(document(file_data="data:application/pdf;base64,JVBE", filename="report")).name == "report.pdf"

    @pytest.mark.parametrize("scheme", ["http", "https", "HTTPS"])
    def test_a_url_in_place_of_data_is_left_to_poe(self, scheme: str) -> None:
        assert file_of(document(file_data=f"{scheme}://example.com/report.pdf")) == RemoteFile(
            f"{scheme}://example.com/report.pdf", "report.pdf", f"{PLACE}.file.file_data"
        )

    @pytest.mark.parametrize(
        ("filename", "name"),
        [
            ("../../etc/passwd", "passwd.pdf"),
            ("C:\\Users\\me\\cv.pdf", "cv.pdf"),
            ("a\r\nContent-Type: text/html\x00.pdf", "html.pdf"),
            ("re\x00po\x7frt.pdf", "report.pdf"),
            ("  report.pdf. ", "report.pdf"),
            ("..", "file.pdf"),
            ("/", "file.pdf"),
            ("", "file.pdf"),
            ("x" * 400 + ".pdf", "x" * 196 + ".pdf"),
        ],
    )
    def test_a_name_is_made_harmless(self, filename: str, name: str) -> None:
        assert file_of(document(file_data="JVBERi0=", filename=filename)).name == name

    @pytest.mark.parametrize(
        ("part", "param"),
        [
            ({"type": "file"}, f"{PLACE}.file"),
            ({"type": "file", "file": "JVBERi0="}, f"{PLACE}.file"),
            (document(), f"{PLACE}.file.file_data"),
            (document(file_data=7), f"{PLACE}.file.file_data"),
            (document(file_id="file-123"), f"{PLACE}.file.file_id"),
            (document(file_data="JVBE", filename="x" * 600), f"{PLACE}.file.filename"),
            (document(file_data="https://"), f"{PLACE}.file.file_data"),
            (document(file_data="data:nonsense"), f"{PLACE}.file.file_data"),
        ],
        ids=str,
    )
    def test_what_is_no_file_is_named(self, part: dict[str, Any], param: str) -> None:
        assert refused(part).param == param

    def test_files_at_openai_are_not_here(self) -> None:
        error = refused(document(file_id="file-123", filename="report.pdf"))

        assert type(error) is UnsupportedFeature
        assert "file_data" in error.message


class TestAudio:
    @pytest.mark.parametrize(
        ("kind", "content_type"), [("wav", "audio/wav"), ("mp3", "audio/mpeg"), ("ogg", "audio/ogg")]
    )
    def test_a_recording_is_a_file(self, kind: str, content_type: str) -> None:
        part = {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": kind}}

        assert file_of(part) == EmbeddedFile("UklGRg==", content_type, f"audio.{kind}", f"{PLACE}.input_audio.data")

    def test_a_recording_that_is_another_is_called_what_it_is(self) -> None:
        part = {"type": "input_audio", "input_audio": {"data": "SUQzBAAAAAA=", "format": "wav"}}

        assert file_of(part) == EmbeddedFile("SUQzBAAAAAA=", "audio/mpeg", "audio.mp3", f"{PLACE}.input_audio.data")

    @pytest.mark.parametrize(
        ("audio", "param"),
        [
            (None, "input_audio"),
            ({}, "input_audio.data"),
            ({"data": "UklGRg=="}, "input_audio.format"),
            ({"data": "UklGRg==", "format": "../wav"}, "input_audio.format"),
            ({"data": "UklGRg==", "format": "wav\n"}, "input_audio.format"),
            ({"data": 7, "format": "wav"}, "input_audio.data"),
        ],
        ids=str,
    )
    def test_what_is_no_recording_is_named(self, audio: object, param: str) -> None:
        assert refused({"type": "input_audio", "input_audio": audio}).param == f"{PLACE}.{param}"


@pytest.mark.parametrize("kind", ["video_url", "input_image", "image", "IMAGE_URL", "", "x" * 1_000])
def test_a_part_of_an_unknown_type_is_named_by_its_place(kind: str) -> None:
    error = refused({"type": kind, "image_url": "https://example.com/a.png"})

    assert type(error) is UnsupportedFeature
    assert error.param == PLACE


@pytest.mark.parametrize("kind", ["text", "refusal", "image_url", "file", "input_audio"])
def test_a_part_without_what_its_type_names_is_named(kind: str) -> None:
    error = refused({"type": kind})

    assert error.param == f"{PLACE}.{kind}"
    assert "Missing" in error.message


def test_texts_are_joined_and_files_keep_their_order() -> None:
    parts = [
        image("https://example.com/1.png"),
        {"type": "text", "text": "one"},
        image("https://example.com/2.png"),
        {"type": "text", "text": "two"},
    ]
    (message,) = messages({"role": "user", "content": parts})

    assert message.content == "one\ntwo"
    assert [file.name for file in message.files] == ["1.png", "2.png"]


@pytest.mark.parametrize("role", ["system", "developer", "user", "assistant"])
def test_any_role_may_show_a_picture(role: str) -> None:
    (message,) = messages({"role": role, "content": [image("https://example.com/1.png")]})

    assert [file.name for file in message.files] == ["1.png"]


def test_pictures_in_results_of_tools_stand_beside_all_of_them() -> None:
    """Poe has one message for all results of a turn."""
    made = [{"id": name, "function": {"name": "look", "arguments": "{}"}} for name in "ab"]
    results: list[dict[str, Any]] = [
        {"role": "tool", "tool_call_id": name, "content": [image(f"https://example.com/{name}.png")]} for name in "ab"
    ]
    *_, last = messages({"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": made}, *results)

    assert (last.role, [file.name for file in last.files]) == ("tool", ["a.png", "b.png"])


@given(url=st.text() | st.text().map(lambda text: f"data:{text}") | st.text().map(lambda text: f"https://{text}"))
def test_any_url_is_a_file_or_a_named_fault(url: str) -> None:
    name, param = "image", f"{PLACE}.image_url.url"
    try:
        name = file_of(image(url)).name
    except InvalidRequest as error:
        param = str(error.param)

    assert param == f"{PLACE}.image_url.url"
    assert name not in ("", ".", "..")
    assert not re.search(r"[/\\\x00-\x1f]", name)


@given(name=st.text(max_size=512))
def test_any_name_becomes_one_without_directories(name: str) -> None:
    made = file_of(document(file_data="JVBERi0=", filename=name)).name

    assert 0 < len(made) <= 200
    assert not re.search(r"[/\\\x00-\x1f\x7f]", made)


@given(st.binary(max_size=300) | st.binary(max_size=40).map(lambda rest: b"RIFF" + rest))
def test_any_bytes_have_a_type(content: bytes) -> None:
    data = base64.b64encode(content).decode()

    assert "/" in type_of(data, "")
    assert type_of(data[:-1] + " \n!", "text/csv") == "text/csv"
