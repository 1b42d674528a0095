"""``python -m proxy demo``: the whole thing on one machine, with nothing to configure and nothing to pay."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator

import click

from proxy.cli.configuration import settings_or_exit
from proxy.cli.serve import exit_if_taken, run_server
from proxy.settings import PROXY_NAMES, SECRET_NAMES

_KEYS = ("demo-key-1", "demo-key-2")
_TOKEN = "demo-token"  # noqa: S105 - opens nothing but the demo
_ADMIN_TOKEN = "demo-admin"  # noqa: S105 - the same
_START_TIMEOUT_S = 60.0

_WELCOME = """
poe-proxy serves OpenAI's and Anthropic's APIs at {url} - behind it, a local Poe with two keys.

  token   {token}
  models  Echo, Storyteller (streams slowly), Thinker (thinks aloud first), Toolsmith (calls your tools),
          Painter (makes images), Moody (fails now and then); Claude-Demo, Claude-Demo-Max, GPT-Demo
          and Gemini-Demo (say what they are told, and call the tools that it names)
  admin   {url}/admin shows all of it live; its token is {admin_token}

Try it with curl:

  curl -N {url}/v1/chat/completions \\
    -H "Authorization: Bearer {token}" -H "Content-Type: application/json" \\
    -d '{{"model": "Storyteller", "stream": true, "messages": [{{"role": "user", "content": "Tell me a story"}}]}}'

or with OpenAI's Python SDK (.venv/bin/python has it):

  from openai import OpenAI
  client = OpenAI(base_url="{url}/v1", api_key="{token}")
  answer = client.chat.completions.create(
      model="Thinker", messages=[{{"role": "user", "content": "What is the answer?"}}]
  )
  print(answer.choices[0].message.content)

Its keys and usage, from another terminal here:

  DATA_DIR={data_dir} .venv/bin/python -m proxy keys list

Ctrl-C ends the demo.
"""


@click.command()
@click.option("--port", default=10_000, show_default=True, help="Port to serve on.", type=click.IntRange(1, 65_535))
def demo(port: int) -> None:
    """Run against a local Poe with two keys and two workers, and print commands to try."""
    exit_if_taken("127.0.0.1", port)
    _forget_other_servers()
    with _local_poe() as poe_url:
        os.environ.update(
            REDIS_URL="embedded",
            POE_API_KEYS=",".join(_KEYS),
            ACCESS_TOKENS=f"demo:{_TOKEN}",
            ADMIN_TOKENS=_ADMIN_TOKEN,
            POE_BASE_URL=poe_url,
            POE_UPLOAD_URL=f"{poe_url}/poe_api/",
            DEFAULT_MODEL="Echo",
            METRICS_PORT=os.environ.get("METRICS_PORT", "0"),
            HOST="127.0.0.1",
            PORT=str(port),
            WORKERS="2",
            DATA_DIR=os.environ.get("DATA_DIR", "data/demo"),
            COOLDOWN_BASE_S="2",
            COOLDOWN_CAP_S="4",
        )
        url = f"http://127.0.0.1:{port}"
        threading.Thread(target=_welcome, args=(url,), daemon=True).start()
        run_server(settings_or_exit(), warn=False)  # its tokens are weak, and open nothing but the demo


def _forget_other_servers() -> None:
    """Takes from the environment what belongs to a real server: its Redis, its keys and its way to Poe."""
    for name in (*SECRET_NAMES, *PROXY_NAMES, "POE_API_KEY"):
        for given in (name, name.lower(), f"{name}_FILE"):
            os.environ.pop(given, None)


@contextlib.contextmanager
def _local_poe() -> Iterator[str]:
    """A process that plays Poe; yields its URL."""
    port = _free_port()
    keys = [part for key in _KEYS for part in ("--key", key)]
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", "proxy.demo.local_poe", "--port", str(port), *keys],
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    url = f"http://127.0.0.1:{port}"
    try:
        if not _answers(f"{url}/v1/models"):
            raise click.ClickException("the local Poe did not start")
        yield url
    finally:
        process.terminate()
        process.wait()


def _welcome(url: str) -> None:
    if _answers(f"{url}/health"):
        click.echo(_WELCOME.format(url=url, token=_TOKEN, admin_token=_ADMIN_TOKEN, data_dir=os.environ["DATA_DIR"]))


def _answers(url: str) -> bool:
    """Waits until somebody answers there."""
    deadline = time.monotonic() + _START_TIMEOUT_S
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=1):  # noqa: S310 - loopback
            return True
        time.sleep(0.1)
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
