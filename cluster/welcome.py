"""What a person reads when the cluster serves: what runs, and lines to try that work as they are."""

from typing import Final

from cluster.backing import DEMO_ADMIN_TOKEN, DEMO_KEYS, DEMO_TOKEN
from cluster.instance import Instance
from cluster.running import Cluster

_TEXT: Final = """
poe-proxy serves OpenAI's and Anthropic's APIs at {url} - {count} instances of {workers}
workers each, behind nginx, on one Redis.
Behind them: {poe}

{members}

Try it with curl:

  curl -N {url}/v1/chat/completions \\
    -H "Authorization: Bearer {token}" -H "Content-Type: application/json" \\
    -d '{{"model": "{model}", "stream": true, "messages": [{{"role": "user", "content": "Tell me a story"}}]}}'

Try a rolling restart while that runs: `kill -TERM` the pid of one instance after the other. Each finishes its streams
and is started again; meanwhile the others serve.

  admin   {admin}
  redis   {redis}
  nginx   pid {nginx_pid}, configuration and log in {home}

Ctrl-C ends it all: the instances finish their streams first.
"""

#: The last of the tokens in the reader's own environment: it is not ours to show.
_OWN_TOKEN: Final = "${ACCESS_TOKENS##*[:,]}"


def build_welcome(cluster: Cluster) -> str:
    """The text for this cluster. Shows the demo's tokens, never any other."""
    settings = cluster.environment
    is_demo = settings.get("POE_API_KEYS") == ",".join(DEMO_KEYS)
    return _TEXT.format(
        url=cluster.base_url,
        count=len(cluster.instances),
        workers=settings["WORKERS"],
        poe="a local Poe with two keys" if is_demo else settings.get("POE_BASE_URL", "Poe, with your keys"),
        members="\n".join(map(_line, cluster.instances)),
        token=DEMO_TOKEN if is_demo else _OWN_TOKEN,
        model="Storyteller" if is_demo else settings.get("DEFAULT_MODEL", "Assistant"),
        admin=_admin(cluster.base_url, settings.get("ADMIN_TOKENS"), is_demo=is_demo),
        redis=_without_password(settings["REDIS_URL"]),
        nginx_pid=cluster.front_pid,
        home=cluster.home,
    )


def _line(instance: Instance) -> str:
    where = f"{instance.base_url}  metrics http://127.0.0.1:{instance.metrics_port}/metrics"
    return f"  {instance.name}  pid {instance.pid:<7}  {where}  log {instance.log}"


def _admin(url: str, tokens: str | None, *, is_demo: bool) -> str:
    if tokens is None:
        return "there is no page without ADMIN_TOKENS"
    return f"{url}/admin; its token is {DEMO_ADMIN_TOKEN if is_demo else 'yours, of ADMIN_TOKENS'}"


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
