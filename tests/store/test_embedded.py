"""The Valkey that comes along: a real server for each test, in a directory of the test's own."""

import os
import stat
from pathlib import Path

import psutil
import pytest
import redis

from proxy.store import embedded
from proxy.store.embedded import EmbeddedError, embedded_valkey
from tests.support.waiting import wait_until


@pytest.fixture(name="home")
def _home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that does not exist yet; its path is short, as that of a socket must be."""
    return tmp_path_factory.mktemp("v") / "data"


def put(url: str, value: str) -> None:
    with redis.Redis.from_url(url) as client:
        client.set("name", value)


def got(url: str) -> object:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        return client.get("name")


def valkeys(home: Path) -> list[psutil.Process]:
    """The servers that this process runs now in this directory; other tests have servers of their own."""
    servers = [child for child in psutil.Process().children() if child.name().startswith("valkey")]
    return [server for server in servers if server.cwd() == str(home.resolve())]


def test_it_answers_under_the_url_it_yields(home: Path) -> None:
    with embedded_valkey(home) as url:
        put(url, "value")

        assert got(url) == "value"


def test_it_listens_on_no_port(home: Path) -> None:
    """Nobody beyond the socket's own file permissions can reach it."""
    with embedded_valkey(home) as url:
        [valkey] = valkeys(home)

        assert url.startswith("unix://")
        assert valkey.net_connections("inet") == []


def test_only_the_owner_may_enter(home: Path) -> None:
    with embedded_valkey(home):
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (home, home / "valkey.sock", home / "valkey.lock")]

    assert modes == [0o700, 0o700, 0o600]


def test_its_data_survives_a_restart(home: Path) -> None:
    with embedded_valkey(home) as url:
        put(url, "kept")
    with embedded_valkey(home) as url:
        value = got(url)

    assert value == "kept"


def test_its_data_survives_being_killed(home: Path) -> None:
    """Written out every second; what is older than that is safe even from a crash."""
    with embedded_valkey(home) as url:
        put(url, "kept")
        with redis.Redis.from_url(url) as client:
            assert client.waitaof(1, 0, 5000) == [1, 0]
        [valkey] = valkeys(home)
        valkey.kill()
        valkey.wait(10)
    with embedded_valkey(home) as url:
        value = got(url)

    assert value == "kept"


async def runs_again(caplog: pytest.LogCaptureFixture, times: int) -> None:
    await wait_until(lambda: caplog.text.count("runs again") == times, "it runs again")


async def test_one_that_is_killed_is_started_again_on_its_data(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Twice in a row, at the same URL; and it ends with the block all the same."""
    with embedded_valkey(home) as url:
        put(url, "kept")
        with redis.Redis.from_url(url) as client:
            assert client.waitaof(1, 0, 5000) == [1, 0]
        for deaths in (1, 2):
            [valkey] = valkeys(home)
            valkey.kill()
            await runs_again(caplog, deaths)

            assert got(url) == "kept"

    assert valkeys(home) == []
    assert caplog.text.count("died and is started again") == 2


async def test_one_that_cannot_start_again_is_tried_again(
    home: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pauses, and not for ever once the server ends."""
    monkeypatch.setattr(embedded, "_PAUSES_S", (0.0, 0.05))
    with embedded_valkey(home) as url:
        put(url, "value")
        manifest = home / "appendonlydir" / "appendonly.aof.manifest"
        good = manifest.read_text()
        manifest.write_text("nonsense\n")
        [valkey] = valkeys(home)
        valkey.kill()
        await wait_until(lambda: caplog.text.count("does not start") >= 2, "it was tried twice")
        manifest.write_text(good)
        await wait_until(lambda: "runs again" in caplog.text, "it runs again")

        assert got(url) == "value"
        manifest.write_text("nonsense\n")
        [valkey] = valkeys(home)
        valkey.kill()

    assert valkeys(home) == []


def test_it_never_throws_data_away_to_make_room(home: Path) -> None:
    """Losing a cooldown or the turn counter in silence would be worse than an error."""
    with embedded_valkey(home) as url, redis.Redis.from_url(url, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_it_is_gone_when_the_block_ends(home: Path) -> None:
    with embedded_valkey(home):
        assert len(valkeys(home)) == 1

    assert valkeys(home) == []


def test_it_is_gone_when_the_block_fails(home: Path) -> None:
    with pytest.raises(RuntimeError), embedded_valkey(home):
        raise RuntimeError

    assert valkeys(home) == []


def test_a_second_one_on_the_same_directory_is_refused(home: Path) -> None:
    """The first goes on undisturbed."""
    with embedded_valkey(home) as url:
        with pytest.raises(EmbeddedError, match=r"^DATA_DIR: .* is in use by another poe-proxy"), embedded_valkey(home):
            pass

        put(url, "value")
        assert got(url) == "value"


def test_another_directory_holds_another_one(home: Path) -> None:
    with embedded_valkey(home) as one, embedded_valkey(home.parent / "more") as two:
        put(one, "one")
        put(two, "two")

        assert (got(one), got(two)) == ("one", "two")


def test_the_directory_is_free_again_after_a_refusal_and_an_end(home: Path) -> None:
    with embedded_valkey(home), pytest.raises(EmbeddedError), embedded_valkey(home):
        pass

    with embedded_valkey(home) as url:
        assert got(url) is None


def test_what_a_crash_left_behind_is_no_obstacle(home: Path) -> None:
    home.mkdir()
    (home / "valkey.lock").touch()
    (home / "valkey.sock").touch()

    with embedded_valkey(home) as url:
        assert got(url) is None


def test_the_directory_may_be_relative(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the default is."""
    monkeypatch.chdir(home.parent)

    with embedded_valkey(Path("data")) as url:
        put(url, "value")

    assert (home / "appendonlydir").is_dir()


@pytest.mark.parametrize("name", ["with space", "hash#", "ask?", "100%25", 'quo"te', "back\\slash", "数据"])
def test_the_directory_may_have_any_name(home: Path, name: str) -> None:
    """Neither Valkey's configuration nor the URL trips over it."""
    with embedded_valkey(home / name) as url:
        put(url, "value")

        assert got(url) == "value"


def test_a_path_too_long_for_a_socket_is_refused(home: Path) -> None:
    """Before anything is made."""
    too_long = home / ("x" * 100)

    with pytest.raises(EmbeddedError, match=r"^DATA_DIR: .* is too long a path"), embedded_valkey(too_long):
        pass

    assert not home.exists()


def test_the_longest_path_that_fits_is_taken(home: Path) -> None:
    room = 107 - len(os.fsencode(home / "valkey.sock")) - 1

    with embedded_valkey(home / ("x" * room)) as url:
        assert got(url) is None


@pytest.mark.parametrize(
    ("below", "reason"), [("", "File exists"), ("deeper", "Not a directory")], ids=["a file", "below a file"]
)
def test_a_directory_that_cannot_be_made_is_refused(home: Path, below: str, reason: str) -> None:
    home.write_text("a file stands here")

    with pytest.raises(EmbeddedError, match=rf"^DATA_DIR: .* cannot be used: {reason}$"), embedded_valkey(home / below):
        pass


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_to_is_refused(home: Path) -> None:
    home.mkdir(mode=0o500)

    with pytest.raises(EmbeddedError, match=r"cannot be used: Permission denied$"), embedded_valkey(home):
        pass


def test_data_that_cannot_be_read_is_told_with_the_place_of_the_log(home: Path) -> None:
    """And the failed server leaves the directory free."""
    with embedded_valkey(home) as url:
        put(url, "value")
    manifest = home / "appendonlydir" / "appendonly.aof.manifest"
    good = manifest.read_text()
    manifest.write_text("nonsense\n")

    with pytest.raises(EmbeddedError, match=r"did not start; see .*/valkey\.log$"), embedded_valkey(home):
        pass

    manifest.write_text(good)
    with embedded_valkey(home) as url:
        assert got(url) == "value"
