"""The workflows beyond what their checkers see: their shell steps are run here, with stand-ins for flyctl and gh."""

import re
import shutil
import subprocess
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import pytest
import yaml  # type: ignore[import-untyped]  # PyYAML comes with yamllint; its types are not worth a requirement

from proxy import __version__
from proxy.settings import SECRET_NAMES

ROOT: Final = Path(__file__).parents[2]
WORKFLOWS: Final = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / ".github/workflows").glob("*.yml")}
PARSED: Final[dict[str, Any]] = {name: yaml.safe_load(text) for name, text in WORKFLOWS.items()}
JOBS: Final = [(name, job) for name, workflow in PARSED.items() for job in workflow["jobs"]]

SHA: Final = "0123456789abcdef0123456789abcdef01234567"

#: Stands in for a command: writes down its arguments and what it is sent, and prints an answer.
STAND_IN: Final = """#!/bin/sh
echo "arguments: $*" >>"$TOLD"
if [ ! -t 0 ]; then printf 'stdin: %s\\n' "$(cat)" >>"$TOLD"; fi
printf '%s\\n' "$ANSWER"
"""

CHANGELOG: Final = f"""# Changelog

## [Unreleased]

- Not yet.

## [{__version__}] - 2026-11-20

### Added

- This, see [the guide](docs/guide.md#this) and [elsewhere](https://example.org/).

## [0.0.9] - 2026-11-01

- Long ago.

[Unreleased]: https://example.org/compare
"""


class Step:
    """Runs a step's script as a runner would: with its environment and nothing else."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.told, self.outputs = home / "told", home / "outputs"
        for name in ("flyctl", "gh"):
            (home / name).write_text(STAND_IN, encoding="utf-8")
            (home / name).chmod(0o755)

    def run(self, script: str, environment: Mapping[str, str], *, answer: str = "") -> str:
        """Its output, once it ended with 0."""
        self.told.touch()
        self.outputs.touch()
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],
            env={
                **environment,
                "PATH": f"{self.home}:/usr/bin:/bin",
                "TOLD": str(self.told),
                "ANSWER": answer,
                "GITHUB_OUTPUT": str(self.outputs),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr


@pytest.fixture
def step(tmp_path: Path) -> Step:
    return Step(tmp_path)


def script_of(workflow: str, job: str, beginning: str) -> str:
    """The script of the one step of a job whose name or id begins so."""
    [script] = [
        step["run"]
        for step in PARSED[workflow]["jobs"][job]["steps"]
        if "run" in step and step.get("name", step.get("id", "")).startswith(beginning)
    ]
    return str(script)


def test_an_action_has_one_commit_and_says_its_version() -> None:
    """Everywhere the same, with a version behind it that Dependabot keeps."""
    uses = re.findall(r"uses: ([^.\s]\S*)@(\S+)(.*)", "\n".join(WORKFLOWS.values()))
    pins = {(action, commit, comment) for action, commit, comment in uses}

    assert len(pins) == len({action for action, _, _ in pins}) >= 8
    assert [pin for pin in pins if not re.fullmatch("[0-9a-f]{40}", pin[1])] == []
    assert [pin for pin in pins if not re.fullmatch(r" # v?[0-9]+(\.[0-9]+)+", pin[2])] == []


@pytest.mark.parametrize(("workflow", "job"), JOBS)
def test_a_job_may_do_what_it_says_and_no_more(workflow: str, job: str) -> None:
    """No workflow grants anything; each job names what it needs, and only those of a release may write."""
    permissions = PARSED[workflow]["jobs"][job]["permissions"]
    writes = {name for name, access in permissions.items() if access != "read"}

    assert PARSED[workflow]["permissions"] == {}
    assert permissions["contents"] == "read" or (workflow, job) == ("release.yml", "release")
    assert not writes or workflow == "release.yml"


@pytest.mark.parametrize(("workflow", "job"), [("deploy.yml", "deploy"), ("release.yml", "image")])
def test_what_goes_out_is_the_commit_that_passed(workflow: str, job: str) -> None:
    """The checks are jobs of the same run, and nothing else is checked out."""
    jobs = PARSED[workflow]["jobs"]

    assert "check" in jobs[job]["needs"]
    assert jobs["check"]["uses"] == "./.github/workflows/ci.yml"
    assert "ref" not in [
        key for each in jobs.values() for step in each.get("steps", []) for key in step.get("with", {})
    ]


def test_every_supported_python_is_tried() -> None:
    """The image's with everything; the others with the tests of what may differ between them."""
    matrix = PARSED["ci.yml"]["jobs"]["check"]["strategy"]["matrix"]
    pythons, whole = matrix["python"], [entry["python"] for entry in matrix["include"] if entry["target"] == "check"]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    in_image = re.search(r"python:([0-9.]+)", (ROOT / "Dockerfile").read_text(encoding="utf-8"))

    assert project["requires-python"] == f">={pythons[0]}"
    assert in_image is not None
    assert whole == [in_image[1]]
    assert not set(whole) & set(pythons)


def test_no_secret_is_written_into_a_script() -> None:
    """They come in variables: GitHub would put a value into the text of the script, and so on its command line."""
    scripts = [
        step.get("run", "")
        for workflow in PARSED.values()
        for job in workflow["jobs"].values()
        for step in job.get("steps", [])
    ]

    assert [script for script in scripts if "secrets." in script or "github.token" in script] == []
    assert [script for script in scripts if re.search(r"set -\w*x", script)] == []


def test_secrets_reach_fly_through_a_pipe(step: Step) -> None:
    """Those that are set, each whole, and never among the arguments or in the log."""
    values = {"POE_API_KEYS": "me:k-1,work:k-2 $(id) 'x'", "ACCESS_TOKENS": "t-1", "ADMIN_TOKENS": "", "REDIS_URL": ""}
    assert set(values) == set(SECRET_NAMES)
    log = step.run(script_of("deploy.yml", "deploy", "Stage the secrets"), values)

    assert step.told.read_text().splitlines() == [
        "arguments: secrets set --stage POE_API_KEYS=-",
        f"stdin: {values['POE_API_KEYS']}",
        "arguments: secrets set --stage ACCESS_TOKENS=-",
        "stdin: t-1",
    ]
    assert "k-1" not in log
    assert "t-1" not in log


def test_the_first_deploy_makes_one_machine_and_names_the_image_for_its_commit(step: Step) -> None:
    """Two machines without a Redis would share nothing."""
    step.run(script_of("deploy.yml", "deploy", "Deploy"), {"GITHUB_SHA": SHA})

    assert f"deploy --remote-only --ha=false --image-label {SHA}" in step.told.read_text()


@pytest.mark.parametrize(
    ("has_token", "attempt", "newest", "deployed"),
    [
        pytest.param("true", "1", SHA, True, id="the newest commit"),
        pytest.param("true", "1", "another", False, id="main has moved on"),
        pytest.param("true", "2", "another", True, id="an older commit, run again by hand"),
        pytest.param("false", "1", SHA, False, id="no token"),
    ],
)
def test_only_the_newest_commit_is_deployed(
    step: Step, has_token: str, attempt: str, newest: str, *, deployed: bool
) -> None:
    """Unless someone asks for an older one; without a token nothing is, and nothing fails."""
    environment = {
        "HAS_TOKEN": has_token,
        "GITHUB_RUN_ATTEMPT": attempt,
        "GITHUB_SHA": SHA,
        "GITHUB_REPOSITORY": "me/poe-proxy",
        "GITHUB_REF_NAME": "main",
    }
    log = step.run(script_of("deploy.yml", "wanted", "wanted"), environment, answer=newest)

    assert step.outputs.read_text() == ("deploy=true\n" if deployed else "")
    assert ("::notice::Not deployed" in log) is not deployed


@pytest.mark.parametrize(
    ("tag", "tags"),
    [
        ("v1.2.3", ["1.2.3", "1.2", "latest"]),
        ("v1.2.3-rc.1", ["1.2.3-rc.1"]),
        ("v1.2.3rc1", ["1.2.3rc1"]),
    ],
)
def test_only_a_final_version_becomes_the_latest_image(step: Step, tag: str, tags: list[str]) -> None:
    """Its name is in small letters, as registries want it."""
    step.run(script_of("release.yml", "image", "Names"), {"GITHUB_REPOSITORY": "Me/Poe-Proxy", "GITHUB_REF_NAME": tag})
    image = "ghcr.io/me/poe-proxy"

    [name, version, created, *rest] = step.outputs.read_text().splitlines()
    assert (name, version) == (f"image={image}", f"version={tag.removeprefix('v')}")
    assert created.startswith("created=20")
    assert rest == [
        "tags<<END",
        *(f"{image}:{each}" for each in tags),
        "END",
    ]


@pytest.fixture
def release_notes(tmp_path: Path) -> Path:
    """The script in a tree with a changelog of the test's."""
    (tmp_path / "scripts").mkdir()
    (tmp_path / "proxy").mkdir()
    (tmp_path / "proxy/__init__.py").write_text((ROOT / "proxy/__init__.py").read_text(encoding="utf-8"))
    (tmp_path / "CHANGELOG.md").write_text(CHANGELOG, encoding="utf-8")
    return Path(shutil.copy(ROOT / "scripts/release-notes", tmp_path / "scripts"))


def notes_of(script: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs the script."""
    return subprocess.run(
        [script, *arguments], env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True, check=False
    )


def test_notes_are_the_section_of_the_version(release_notes: Path) -> None:
    """Nothing of the one above or below, nor the addresses of links at the end."""
    notes = notes_of(release_notes, f"v{__version__}")

    assert notes.returncode == 0
    assert notes.stdout.strip().splitlines() == [
        "### Added",
        "",
        "- This, see [the guide](docs/guide.md#this) and [elsewhere](https://example.org/).",
    ]


def test_links_in_notes_lead_into_the_tree_of_the_tag(release_notes: Path) -> None:
    """A page of releases is not where the changelog is."""
    notes = notes_of(release_notes, f"v{__version__}", GITHUB_REPOSITORY="me/poe-proxy")

    assert f"(https://github.com/me/poe-proxy/blob/v{__version__}/docs/guide.md#this)" in notes.stdout
    assert "(https://example.org/)" in notes.stdout


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["v9.9.9"], f"The tag is v9.9.9, but proxy/__init__.py says {__version__}"),
        ([__version__], f"The tag is {__version__}, but proxy/__init__.py says {__version__}"),
        ([], "which release?"),
    ],
)
def test_a_tag_that_is_not_the_version_is_refused(release_notes: Path, arguments: list[str], reason: str) -> None:
    notes = notes_of(release_notes, *arguments)

    assert notes.returncode != 0
    assert reason in notes.stderr
    assert notes.stdout == ""


@pytest.mark.parametrize("section", ["", f"## [{__version__}]\n\n"])
def test_a_version_that_the_changelog_says_nothing_of_is_refused(release_notes: Path, section: str) -> None:
    """Whether its section is missing or empty."""
    changelog = release_notes.parents[1] / "CHANGELOG.md"
    changelog.write_text(f"# Changelog\n\n## [Unreleased]\n\n{section}## [0.0.9]\n\n- Long ago.\n", encoding="utf-8")
    notes = notes_of(release_notes, f"v{__version__}")

    assert notes.returncode == 1
    assert f"CHANGELOG.md has no section [{__version__}]" in notes.stderr
