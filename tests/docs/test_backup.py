"""The runbook's way to back Redis up and to put it back, carried out on servers that keep an append-only file."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import pytest

from cluster.processes import free_port
from proxy.clients.admin import ClientAdmin
from proxy.store.embedded import embedded_valkey
from proxy.store.redis import RedisStore
from tests.docs.blocks import ROOT
from tests.support.redis_servers import BINARIES, GIVEN_URL, Server, breakable_redis

RUNBOOK: Final = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")

pytestmark = [
    pytest.mark.skipif(bool(GIVEN_URL), reason="needs servers of its own"),
    pytest.mark.skipif(shutil.which("redis-cli") is None, reason="redis-cli is not installed"),
]


@pytest.fixture(params=sorted(BINARIES))
def binary(request: pytest.FixtureRequest) -> str:
    return BINARIES[request.param]


@contextmanager
def keeping_redis(home: Path, binary: str) -> Iterator[Server]:
    """As compose's: it reads its append-only file at the start, and nothing else."""
    home.mkdir(exist_ok=True)
    options = ("--appendonly", "yes", "--appendfsync", "always")
    with breakable_redis(home, *options, binary=binary, port=free_port()) as server:
        yield server


def command(beginning: str) -> str:
    """The one line of the runbook's commands that begins so."""
    [line] = re.findall(rf"^{re.escape(beginning)}.*$", RUNBOOK, re.MULTILINE)
    return str(line)


def shell(line: str, home: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", "-c", line],
        cwd=home,
        env={"PATH": f"/usr/bin:/bin:{Path(shutil.which('redis-cli') or '/').parent}", **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def take_snapshot(server: Server, home: Path) -> None:
    taken = shell(command('redis-cli -u "$REDIS_URL" --rdb'), home, REDIS_URL=server.url)
    assert taken.returncode == 0, taken.stderr
    assert (home / "poe-proxy.rdb").stat().st_size > 0


def put_back(data: Path, home: Path, binary: str) -> "subprocess.CompletedProcess[str]":
    line = command("scripts/restore-redis").replace("/var/lib/redis", str(data)).replace("scripts/", f"{ROOT}/scripts/")
    return shell(line, home, REDIS_SERVER=binary)


async def make_client(url: str, name: str) -> None:
    store = RedisStore(url, "poe")
    await ClientAdmin(store).create(name, {"streams": 2})
    await store.close()


async def clients_in(url: str) -> list[str]:
    store = RedisStore(url, "poe")
    names = [one.record.name for one in await ClientAdmin(store).describe()]
    await store.close()
    return names


async def test_what_was_in_redis_is_there_again(tmp_path: Path, binary: str) -> None:
    """Also after another start of that Redis, and with everything that was there instead kept beside it."""
    with keeping_redis(tmp_path / "old", binary) as old:
        await make_client(old.url, "class 7b")
        count = old.client().dbsize()
        take_snapshot(old, tmp_path)
    with keeping_redis(tmp_path / "new", binary) as new:
        await make_client(new.url, "since then")

    restored = put_back(tmp_path / "new", tmp_path, binary)
    assert restored.returncode == 0, restored.stderr
    assert restored.stdout.startswith(f"{count} keys are restored.")
    with keeping_redis(tmp_path / "new", binary) as new:
        assert await clients_in(new.url) == ["class 7b"]
        await make_client(new.url, "later")
        new.kill()
        new.start()
        assert await clients_in(new.url) == ["class 7b", "later"]
    [kept] = (tmp_path / "new").glob("before-restore-*")
    assert (kept / "appendonlydir").is_dir()


async def test_a_snapshot_beside_an_append_only_file_would_be_ignored(tmp_path: Path, binary: str) -> None:
    """The reason for the script. When servers learn better, this fails, and the script may go."""
    with keeping_redis(tmp_path / "old", binary) as old:
        await make_client(old.url, "class 7b")
        take_snapshot(old, tmp_path)
    (tmp_path / "new").mkdir()
    (tmp_path / "poe-proxy.rdb").rename(tmp_path / "new" / "dump.rdb")

    with keeping_redis(tmp_path / "new", binary) as new:
        assert await clients_in(new.url) == []


@pytest.mark.parametrize("content", [b"", b"no snapshot at all", b"REDIS0011\xff\xff\xff"])
async def test_a_snapshot_that_cannot_be_read_changes_nothing(tmp_path: Path, binary: str, content: bytes) -> None:
    with keeping_redis(tmp_path / "data", binary) as server:
        await make_client(server.url, "class 7b")
    before = sorted(path.name for path in (tmp_path / "data").iterdir())
    (tmp_path / "poe-proxy.rdb").write_bytes(content)

    refused = put_back(tmp_path / "data", tmp_path, binary)

    assert refused.returncode != 0
    assert "everything is as it was" in refused.stderr
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == before
    with keeping_redis(tmp_path / "data", binary) as server:
        assert await clients_in(server.url) == ["class 7b"]


async def test_a_copy_of_the_embedded_valkeys_directory_is_a_backup(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Made while it is stopped, and put back while it is."""
    home = tmp_path_factory.mktemp("e")
    with embedded_valkey(home / "data") as url:
        await make_client(url, "class 7b")
    shutil.copytree(home / "data", home / "copy")
    with embedded_valkey(home / "data") as url:
        await make_client(url, "since then")
    shutil.rmtree(home / "data")
    shutil.copytree(home / "copy", home / "data")

    with embedded_valkey(home / "data") as url:
        assert await clients_in(url) == ["class 7b"]
