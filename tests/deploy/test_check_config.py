"""``scripts/check-config`` on copies of the tree: the untouched one passes, and one planted fault in it is found."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]

#: What is checked. Beside it the check of fly.toml needs itself and the settings.
CHECKED: Final = ("Dockerfile", "docker-compose.yml", "fly.toml", ".yamllint", ".github", ".ci", "scripts", "deploy")
FLY_CHECK: Final = "tests/deploy/test_fly_toml.py"

CI: Final = ".github/workflows/ci.yml"
COMPOSE: Final = "docker-compose.yml"

#: (checker, file, a place in it, what stands there instead); a file that is not there is made.
FAULTS: Final = {
    "apt-get install of just anything": ("hadolint", "Dockerfile", "USER ", "RUN apt-get install curl\nUSER "),
    "a container that runs as root": ("hadolint", "Dockerfile", "USER 10001:10001", "USER root"),
    "a misspelt key in compose": ("compose", COMPOSE, "restart:", "restrat:"),
    "a misspelt key in fly.toml": ("fly.toml", "fly.toml", "kill_timeout =", "kill_timout ="),
    "a drain that Fly cuts short": ("fly.toml", "fly.toml", 'kill_timeout = "45s"', 'kill_timeout = "10s"'),
    "a misspelt key in a workflow": ("workflows", CI, "runs-on:", "run-on:"),
    "a job without a timeout": ("timeouts", CI, "    timeout-minutes: 30\n", ""),
    "an interval that Dependabot does not know": (
        "dependabot",
        ".github/dependabot.yml",
        "interval: weekly",
        "interval: sometimes",
    ),
    "new versions on their first day": (
        "zizmor",
        ".github/dependabot.yml",
        "    cooldown:\n      default-days: 7\n",
        "",
    ),
    "an action by its tag": ("zizmor", CI, r"actions/checkout@[0-9a-f]{40} # v[0-9.]+", "actions/checkout@v6"),
    "a title of anybody's in a script": ("zizmor", CI, "run: .ci/run", 'run: echo "${{ github.event.issue.title }}"'),
    "a checkout that leaves its token behind": (
        "zizmor",
        CI,
        "        with:\n          persist-credentials: false\n",
        "",
    ),
    "a token that may write everything": ("zizmor", CI, r"permissions:\n +contents: read", "permissions: write-all"),
    "a tab in compose": ("yamllint", COMPOSE, "\nservices:", "\n\tservices:"),
    "the same key twice in a workflow": ("yamllint", CI, "\nname: CI\n", "\nname: CI\nname: CI\n"),
    "the same key twice in the alerts": ("yamllint", "docs/alerts.yml", "        for: 2m\n", "        for: 2m\n" * 2),
    "a tab in a file of deploy/": ("yamllint", "deploy/some/where/prometheus.yml", "", "global:\n\tinterval: 15s\n"),
    "an unquoted variable in a script": ("shellcheck", "scripts/lock", "\nwork=", "\nrm -rf $HOME/$1\nwork="),
    "the same in .ci/run": ("shellcheck", ".ci/run", "\nneed=", "\nrm -rf $HOME/$1\nneed="),
    "the same in a new script": ("shellcheck", "deploy/some/where/start", "", "#!/usr/bin/env sh\nrm -rf $HOME/$1\n"),
}


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with everything that is checked, and nothing else."""
    tree = tmp_path_factory.mktemp("pristine")
    for name in CHECKED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=shutil.ignore_patterns("secrets"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, tree / name)
    for page in (ROOT / "docs").glob("*.y*ml"):
        (tree / "docs").mkdir(exist_ok=True)
        shutil.copy(page, tree / "docs")
    (tree / FLY_CHECK).parent.mkdir(parents=True)
    shutil.copy(ROOT / FLY_CHECK, tree / FLY_CHECK)
    (tree / "proxy").symlink_to(ROOT / "proxy")
    return tree


@pytest.fixture
def tree(pristine: Path, tmp_path: Path) -> Path:
    """A copy of the test's own."""
    return Path(shutil.copytree(pristine, tmp_path / "tree", symlinks=True))


def check(tree: Path, *checkers: str) -> subprocess.CompletedProcess[str]:
    """Runs the tree's own script with the checkers that are installed beside this Python."""
    path = f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin"
    return subprocess.run(
        [tree / "scripts" / "check-config", *checkers],
        env={"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


def plant(fault: str, tree: Path) -> str:
    """Puts the fault into the tree; returns the checker that has to find it."""
    checker, name, place, instead = FAULTS[fault]
    file = tree / name
    if not file.exists():
        file.parent.mkdir(parents=True)
        file.write_text(instead, encoding="utf-8")
        return checker
    text, count = re.subn(place, lambda _: instead, file.read_text(encoding="utf-8"), count=1)
    assert count == 1, f"{name} has no {place!r}"
    file.write_text(text, encoding="utf-8")
    return checker


def test_an_untouched_tree_passes_and_each_checker_has_a_fault_to_find(pristine: Path) -> None:
    """So no checker can be added that was never seen to fail."""
    checked = check(pristine)
    lines = checked.stdout.splitlines()

    assert checked.returncode == 0, checked.stdout
    assert {line.split()[0] for line in lines} == {"ok"}
    assert {line.split()[1] for line in lines} == {checker for checker, *_ in FAULTS.values()}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(fault: str, tree: Path) -> None:
    """The checker is named, tells why, and the whole script fails."""
    checker = plant(fault, tree)
    checked = check(tree, checker)

    assert checked.returncode == 1, checked.stdout
    assert checked.stdout.startswith(f"FAILED  {checker}\n")
    assert len(checked.stdout.splitlines()) > 1


def test_one_failure_among_many_fails_the_whole(tree: Path) -> None:
    """The others still run, and say so."""
    plant("an unquoted variable in a script", tree)
    plant("a job without a timeout", tree)
    checked = check(tree, "timeouts", "yamllint", "shellcheck")

    assert checked.returncode == 1
    assert [line for line in checked.stdout.splitlines() if re.match("ok|FAILED", line)] == [
        "FAILED  timeouts",
        "ok      yamllint",
        "FAILED  shellcheck",
    ]


def test_a_checker_that_does_not_exist_is_no_success(pristine: Path) -> None:
    checked = check(pristine, "zismor")

    assert checked.returncode == 2
    assert "zismor" in checked.stderr
