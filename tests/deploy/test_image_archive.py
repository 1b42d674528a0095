"""What is found wrong with an image. A good one is made here, file by file; each test spoils one thing of it."""

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pytest

from scripts.image_archive import USER_ID, Image, describe_sizes, find_problems, load_config, load_image

PYTHON: Final = "opt/venv/lib/python3.13/site-packages"
LABELS: Final = ("title", "description", "licenses", "source", "version", "revision", "created")
#: Made of it: an image's file, by its path.
File = Mapping[str, Any]


def file(mode: int = 0o644, uid: int = 0, gid: int = 0, kind: bytes = tarfile.REGTYPE, size: int = 10) -> File:
    return {"mode": mode, "uid": uid, "gid": gid, "type": kind, "size": size if kind == tarfile.REGTYPE else 0}


def directory(mode: int = 0o755, uid: int = 0, gid: int = 0) -> File:
    return file(mode, uid, gid, tarfile.DIRTYPE)


@dataclass
class Draft:
    """An image to be: its configuration, and the files of each layer; the first is the base's."""

    config: dict[str, Any] = field(
        default_factory=lambda: {
            "User": f"{USER_ID}:{USER_ID}",
            "Cmd": ["python", "-m", "proxy", "serve"],
            "Healthcheck": {"Test": ["CMD", "python", "-c", "pass"]},
            "ExposedPorts": {"10000/tcp": {}},
            "StopSignal": "SIGTERM",
            "Volumes": {"/data": {}},
            "Env": ["PATH=/opt/venv/bin:/usr/bin", "PYTHONUNBUFFERED=1"],
            "Labels": {f"org.opencontainers.image.{name}": f"the {name}" for name in LABELS},
        }
    )
    base: dict[str, File] = field(
        default_factory=lambda: {"usr/bin/python3": file(0o755), "tmp": directory(0o1777), "usr/bin/pip": file(0o755)}
    )
    own: dict[str, File] = field(
        default_factory=lambda: {
            "data": directory(0o700, USER_ID, USER_ID),
            "app/LICENSE": file(),
            "app/proxy/__main__.py": file(),
            "app/proxy/__pycache__/__main__.cpython-313.pyc": file(),
            f"{PYTHON}/sanic/app.py": file(),
            f"{PYTHON}/sanic/__pycache__/app.cpython-313.pyc": file(),
            "usr/lib/python3.13/http/__pycache__/client.cpython-313.pyc": file(),
            "etc/passwd": file(),
        }
    )
    later: dict[str, File] = field(default_factory=dict)

    def write(self, home: Path) -> Path:
        """As buildah writes a docker-archive."""
        layers = [self.base, self.own, *([self.later] if self.later else [])]
        steps = ["FROM base", "COPY everything", "RUN /bin/sh -c something   quite  long"]
        history: list[dict[str, Any]] = [{"created_by": step} for step in steps[: len(layers)]]
        details = {"config": self.config, "history": [*history, {"created_by": "CMD", "empty_layer": True}]}
        manifest = [{"Config": "config.json", "Layers": [f"{number}.tar" for number in range(len(layers))]}]
        path = home / "image.tar"
        with tarfile.open(path, "w") as whole:
            for name, content in (("manifest.json", manifest), ("config.json", details)):
                add(whole, name, json.dumps(content).encode())
            for number, files in enumerate(layers):
                add(whole, f"{number}.tar", layer_of(files))
        return path

    def problems(self, home: Path, **labels: str) -> list[str]:
        return list(find_problems(self.load(home), labels))

    def load(self, home: Path) -> Image:
        return load_image(self.write(home), base_layers=1)


def add(whole: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    whole.addfile(member, io.BytesIO(content))


def layer_of(files: Mapping[str, File]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as layer:
        for path, facts in files.items():
            member = tarfile.TarInfo(f"./{path}")
            for name, value in facts.items():
                setattr(member, name, value)
            layer.addfile(member, io.BytesIO(bytes(member.size)))
    return packed.getvalue()


@pytest.fixture
def draft() -> Draft:
    return Draft()


def test_an_image_as_it_should_be_has_no_problems(draft: Draft, tmp_path: Path) -> None:
    assert draft.problems(tmp_path, version="the version") == []


def test_what_the_image_says_of_how_it_is_run_can_be_read_alone(draft: Draft, tmp_path: Path) -> None:
    assert load_config(draft.write(tmp_path)) == draft.config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"User": ""}, "USER is root, not 10001:10001"),
        ({"User": "10001"}, "USER is 10001, not"),
        ({"Cmd": ["/bin/sh", "-c", "python -m proxy serve"]}, "CMD is not in exec form"),
        ({"Cmd": None}, "CMD is not in exec form"),
        ({"Entrypoint": ["/bin/bash"]}, "CMD is not in exec form"),
        ({"Healthcheck": None}, "HEALTHCHECK is missing or not in exec form"),
        ({"Healthcheck": {"Test": ["CMD-SHELL", "curl localhost"]}}, "HEALTHCHECK is missing or not in exec form"),
        ({"ExposedPorts": {}}, "EXPOSE is not 10000/tcp"),
        ({"ExposedPorts": {"10000/tcp": {}, "9091/tcp": {}}}, "EXPOSE is not 10000/tcp"),
        ({"StopSignal": "SIGKILL"}, "STOPSIGNAL is not SIGTERM"),
        ({"Volumes": None}, "VOLUME is not /data"),
        ({"Env": ["POE_API_KEYS=key"]}, "ENV sets POE_API_KEYS, a secret"),
        ({"Env": ["ADMIN_TOKENS_FILE=/x"]}, "ENV sets ADMIN_TOKENS_FILE, a secret"),
    ],
)
def test_a_configuration_that_is_not_ours_is_named(
    draft: Draft, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    draft.config.update(changes)

    [problem] = draft.problems(tmp_path)
    assert problem.startswith(words)


@pytest.mark.parametrize("name", LABELS)
def test_a_label_that_is_missing_or_empty_is_named(draft: Draft, tmp_path: Path, name: str) -> None:
    draft.config["Labels"][f"org.opencontainers.image.{name}"] = ""

    assert draft.problems(tmp_path) == [f"the label org.opencontainers.image.{name} is missing or empty"]


def test_a_label_that_is_not_what_the_build_was_told_is_named(draft: Draft, tmp_path: Path) -> None:
    assert draft.problems(tmp_path, revision="abc") == [
        "the label org.opencontainers.image.revision is the revision, not abc as the build was told"
    ]


@pytest.mark.parametrize(
    ("path", "facts", "words"),
    [
        ("opt/venv/bin/pip3.13", file(0o755), "has build tools: /opt/venv/bin/pip3.13"),
        ("usr/bin/gcc", file(0o755), "has build tools: /usr/bin/gcc"),
        (f"{PYTHON}/setuptools-80.0.dist-info/RECORD", file(), "has build tools"),
        ("app/.git/config", file(), "has what is not for an image: /app/.git/config"),
        ("app/.env", file(), "has what is not for an image: /app/.env"),
        ("app/tests/test_x.txt", file(), "has what is not for an image"),
        ("app/deploy/secrets/poe_api_keys", file(), "has unexpected files: /app/deploy/secrets/poe_api_keys"),
        ("root/.bash_history", file(), "has unexpected files"),
        ("app/proxy/x.txt", file(uid=USER_ID, mode=0o444), "has files not owned by root: /app/proxy/x.txt"),
        ("app/proxy/x.txt", file(0o4755), "has setuid files: /app/proxy/x.txt"),
        ("app/proxy/x.txt", file(0o600), "has files that others cannot read: /app/proxy/x.txt"),
    ],
)
def test_a_file_that_should_not_be_there_is_named_with_its_layer(
    draft: Draft, tmp_path: Path, path: str, facts: File, words: str
) -> None:
    draft.own[path] = facts

    problems = draft.problems(tmp_path)
    assert any(words in problem and problem.endswith("(COPY everything)") for problem in problems), problems


def test_what_a_later_layer_removes_is_found_all_the_same(draft: Draft, tmp_path: Path) -> None:
    """It can still be read by whoever has the image."""
    draft.own["app/.env"] = file()
    draft.later["app/.wh..env"] = file()

    problems = draft.problems(tmp_path)
    assert any("/app/.env" in problem and "(COPY everything)" in problem for problem in problems)


def test_tools_of_the_base_are_not_ours(draft: Draft, tmp_path: Path) -> None:
    draft.base["usr/bin/gcc"] = file(0o755)

    assert draft.problems(tmp_path) == []


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (None, "there is no /data"),
        (file(), "there is no /data"),
        (directory(0o755, USER_ID, USER_ID), "/data is 755 10001:10001, not 700 10001:10001"),
        (directory(0o700), "/data is 700 0:0, not 700"),
    ],
)
def test_a_data_directory_for_others_is_named(draft: Draft, tmp_path: Path, data: File | None, words: str) -> None:
    if data is None:
        del draft.own["data"]
    else:
        draft.own["data"] = data

    assert [problem for problem in draft.problems(tmp_path) if problem.startswith(words)]


@pytest.mark.parametrize(
    ("where", "path", "facts"),
    [
        ("base", "var/spool", directory(0o777)),
        ("base", "usr/bin/tool", file(0o646)),
        ("own", "app/proxy/__main__.py", file(0o646)),
        ("base", "srv/x", file(0o660, 0, USER_ID)),
    ],
)
def test_what_the_user_may_write_is_named(draft: Draft, tmp_path: Path, where: str, path: str, facts: File) -> None:
    getattr(draft, where)[path] = facts

    assert [problem for problem in draft.problems(tmp_path) if problem == f"the user may write to /{path}"]


def test_the_topmost_layer_decides_what_may_be_written(draft: Draft, tmp_path: Path) -> None:
    draft.base["etc/passwd"] = file(0o666)

    assert draft.problems(tmp_path) == []


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda own: own.pop("app/proxy/__pycache__/__main__.cpython-313.pyc"),
            "modules are not compiled: /app/proxy/",
        ),
        (
            lambda own: own.pop("usr/lib/python3.13/http/__pycache__/client.cpython-313.pyc"),
            "the standard library is not",
        ),
    ],
)
def test_modules_that_are_not_compiled_are_named(
    draft: Draft, tmp_path: Path, spoil: Callable[[dict[str, File]], Any], words: str
) -> None:
    """The container is read-only: Python would compile them at each start, and could not keep the result."""
    spoil(draft.own)

    [problem] = draft.problems(tmp_path)
    assert problem.startswith(words)


def test_an_image_without_modules_is_none(draft: Draft, tmp_path: Path) -> None:
    for path in [path for path in draft.own if path.endswith(".py")]:
        del draft.own[path]

    assert draft.problems(tmp_path) == ["there are no Python modules"]


def test_a_leap_in_size_is_named(draft: Draft, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert draft.problems(tmp_path) == []
    monkeypatch.setattr("scripts.image_archive.MAX_OWN_BYTES", 1000)

    assert draft.problems(tmp_path) == ["the layers above the base are larger than 1,000 bytes"]


def test_many_files_are_named_by_three(draft: Draft, tmp_path: Path) -> None:
    draft.own.update({f"srv/{number}": file() for number in range(9)})

    [problem] = draft.problems(tmp_path)
    assert "/srv/0, /srv/1, /srv/2 and 6 more" in problem


def test_sizes_are_told_by_layer_and_by_part(draft: Draft, tmp_path: Path) -> None:
    draft.own[f"{PYTHON}/sanic/large.py"] = file(size=3_000_000)
    lines = list(describe_sizes(draft.load(tmp_path)))

    assert lines[0].startswith("   3.0 MB above the base's 0.0 MB; 0.0 MB to download")
    assert lines[1] == "   3.0 MB   COPY everything"
    assert lines[2] == "   3.0 MB     site-packages/sanic"
