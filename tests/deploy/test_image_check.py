"""``scripts/image-check`` with a stand-in for Docker, which runs a container's command as a process of this machine."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from cluster.processes import free_port

ROOT: Final = Path(__file__).parents[2]

#: ``run`` keeps a process's pid and exit code in files of the container's name; the image's command is the proxy's.
DOCKER: Final = r"""#!/usr/bin/env bash
echo "$*" >>"$HOME/told"
command=$1
shift
case $command in
  version | build) ;;
  run)
    settings=()
    while [[ $1 == --* ]]; do
      case $1 in
        --name) name=$2 ;;
        --env) settings+=("${2//:8080/:$POE_PORT}") ;;
        --detach | --read-only) shift; continue ;;
      esac
      shift 2
    done
    shift
    words=("${@//8080/$POE_PORT}")
    [ $# -gt 0 ] || words=(${SERVES:-python -m proxy serve})
    (
      cd "$ROOT"
      env "${settings[@]}" HOST=127.0.0.1 METRICS_PORT=0 DATA_DIR="$HOME/data" "${words[@]}" &
      echo $! >"$HOME/$name.pid"
      wait $!
      echo $? >"$HOME/$name.code"
    ) >"$HOME/$name.log" 2>&1 3>&- &
    ;;
  port) echo "127.0.0.1:$PORT" ;;
  logs) cat "$HOME/${*: -1}.log" ;;
  inspect)
    if [[ $2 != *Running* ]]; then cat "$HOME/${*: -1}.code"
    elif [ ! -e "$HOME/${*: -1}.code" ]; then echo true; fi
    ;;
  stop)
    kill -TERM "$(cat "$HOME/${*: -1}.pid")"
    tail --pid="$(cat "$HOME/${*: -1}.pid")" -f /dev/null
    until [ -s "$HOME/${*: -1}.code" ]; do :; done
    ;;
  rm) for each in "${@:3}"; do kill -KILL "$(cat "$HOME/$each.pid")"; done ;;
esac
"""


def run_image_check(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """With the stand-in first on the PATH."""
    (home / "docker").write_text(DOCKER, encoding="utf-8")
    (home / "docker").chmod(0o755)
    return subprocess.run(
        [ROOT / "scripts/image-check", *arguments],
        env={
            "PATH": f"{home}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "ROOT": str(ROOT),
            "PORT": str(free_port()),
            "POE_PORT": str(free_port()),
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_image_that_serves_passes(tmp_path: Path) -> None:
    """It is run without anything that the proxy does not need; none is built when one is named."""
    checked = run_image_check(tmp_path, "poe-proxy:ci")

    told = (tmp_path / "told").read_text()
    assert checked.returncode == 0, checked.stderr
    assert [line.split()[0] for line in checked.stdout.splitlines()] == ["ok", "ok"]
    assert "--read-only --tmpfs /tmp --cap-drop ALL --security-opt no-new-privileges" in told
    assert "build" not in told


@pytest.mark.parametrize(
    ("serves", "problem"),
    [
        ("python -m proxy nonsense", "the container has ended"),
        ("env ACCESS_TOKENS=check:another-token python -m proxy serve", "no stream, but: {"),
        ("env DRAIN_TIMEOUT_S=0.1 python -m proxy serve", "the stream was cut"),
    ],
    ids=["it does not start", "it refuses the chat", "it does not let a stream finish"],
)
def test_an_image_that_does_not_fails_with_its_reason(tmp_path: Path, serves: str, problem: str) -> None:
    checked = run_image_check(tmp_path, SERVES=serves)

    assert checked.returncode != 0
    assert problem in checked.stderr
    assert (tmp_path / "told").read_text().splitlines()[1].startswith("build --tag poe-proxy:check")
