"""LiteLLM's proxy server, from an environment of its own. It speaks no Poe: it asks Poe's OpenAI-compatible API."""

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bench.peers import Endpoint, Peer, RunningPeer, Site
from bench.processes import ROOT, free_port, running
from bench.shapes import ASKED

PEERS_VENV: Final = ROOT / ".venv-peers"
_COMMAND: Final = PEERS_VENV / "bin" / "litellm"
_ENV: Final = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # otherwise it fetches its price list at start
    "LITELLM_TELEMETRY": "False",
    "LITELLM_MODE": "PRODUCTION",  # reads no .env file
    "LITELLM_LOG": "ERROR",
    "HF_HUB_OFFLINE": "1",
    "NO_PROXY": "127.0.0.1",
}


@contextmanager
def _start(site: Site) -> Iterator[RunningPeer]:
    port = free_port()
    config = site.directory / "litellm.yaml"
    config.write_text(_config(site.upstream_url))
    # fmt: off
    command = [
        str(_COMMAND), "--config", str(config), "--host", "127.0.0.1", "--port", str(port),
        "--num_workers", "1", "--telemetry", "False",
    ]
    # fmt: on
    key = f"sk-{secrets.token_hex(24)}"  # it does not start without one, nor with a weak one
    env = {**_ENV, "LITELLM_MASTER_KEY": key}
    with running(command, listens_on=port, log=site.directory / "litellm.log", env=env) as pid:
        yield RunningPeer("litellm", Endpoint(port, headers={"authorization": f"Bearer {key}"}), (pid,))


def _config(upstream_url: str) -> str:
    """One model a shape, named alike; JSON is YAML too."""
    models = [
        {
            "model_name": name,
            "litellm_params": {"model": f"openai/{name}", "api_base": f"{upstream_url}/v1", "api_key": "bench-key"},
        }
        for name in ASKED
    ]
    return json.dumps({"model_list": models, "litellm_settings": {"telemetry": False}})


def missing(command: Path = _COMMAND) -> str:
    """Why it cannot run here; empty when it can."""
    return "" if command.exists() else "LiteLLM is not installed; `make bench-peers` does it"


LITELLM: Final = Peer(
    "litellm",
    "LiteLLM's proxy server, one worker, no database; its upstream speaks OpenAI's protocol",
    missing,
    _start,
    slow_to_measure=True,
)
