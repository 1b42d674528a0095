"""nginx, passing the upstream's bytes on as they come. Translates nothing; the floor, not a rival."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from bench.peers import POE_END, USUAL, Endpoint, Peer, RunningPeer, Site
from bench.processes import free_port, running

_CONFIG: Final = """
daemon off;
{user}
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
http {{
  access_log access.log;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  client_max_body_size 32m;
  client_body_buffer_size 1m;
  keepalive_requests 1000000;
  upstream poe {{
    server {upstream};
    keepalive 256;
    keepalive_requests 1000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://poe;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""


#: Two connections for each of 2,000 open streams, and some to spare: nginx keeps memory for each.
_FILES: Final = 5000


@contextmanager
def _start(site: Site) -> Iterator[RunningPeer]:
    port = free_port()
    config = site.directory / "nginx.conf"
    config.write_text(
        _CONFIG.format(
            port=port, upstream=site.upstream_url.removeprefix("http://"), user=_user_directive(), files=_FILES
        )
    )
    command = ["nginx", "-p", str(site.directory), "-c", str(config), "-e", "stderr"]
    with running(command, listens_on=port, log=site.directory / "nginx.log") as pid:
        yield RunningPeer("nginx", Endpoint(port, path="/bot/{bot}", end=POE_END), (pid,))


def _user_directive() -> str:
    """As root, nginx would make its worker another user, who may not write into our directory."""
    return "user root;" if os.geteuid() == 0 else ""


def _missing() -> str:
    return "" if shutil.which("nginx") else "nginx is not on PATH"


NGINX: Final = Peer(
    "nginx", "passes the same bytes, translates nothing: the floor", _missing, _start, themes=USUAL | {"content"}
)
