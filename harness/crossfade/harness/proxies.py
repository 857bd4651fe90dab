"""nginx as a plain reverse proxy: the practical limit that every gateway is read against.

The configuration is the smallest that is fair: one worker, keep-alive on both sides, no logs, buffers large enough for
the largest body of our scenarios so that nothing touches the disk. Everything it writes stays in a temporary folder.
"""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from crossfade.harness.cpuclock import children
from crossfade.harness.environment import nginx_path
from crossfade.harness.problems import BlockFailed, Unavailable
from crossfade.harness.processes import Child

_CONFIG = """\
daemon off;
{user}worker_processes 1;
worker_rlimit_nofile 20000;
error_log stderr error;
pid {folder}/nginx.pid;
events {{ worker_connections 8192; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;
  client_max_body_size 16m;
  client_body_buffer_size 2m;
  upstream fleet {{
    server 127.0.0.1:{upstream};
    keepalive 512;
    keepalive_requests 1000000000;
  }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://fleet;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host 127.0.0.1:{upstream};
      proxy_buffer_size 16k;
      proxy_buffers 96 16k;
    }}
  }}
}}
"""


_UNTIL_EOF = 'exec 3<&0; "$@" & p=$!; trap "kill $p" TERM; read -r _ <&3; kill $p; wait $p'
"""nginx never reads stdin. A shell does it in its place, so that nginx too ends with the harness, however that ends."""


class Running(msgspec.Struct, frozen=True):
    """A proxy that accepts connections; ``pids`` are master and worker."""

    port: int
    pids: tuple[int, ...]


def config(*, folder: Path, port: int, upstream: int, root: bool) -> str:
    """The text of the configuration file. As root the workers stay root, or they could not use ``folder``."""
    return _CONFIG.format(folder=folder, port=port, upstream=upstream, user="user root;\n" if root else "")


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@contextlib.contextmanager
def nginx(
    upstream: int, *, cpus: frozenset[int] | None, env: dict[str, str] | None = None, start_timeout_s: float = 5.0
) -> Iterator[Running]:
    """nginx in front of ``upstream``, with ``env`` added to its environment.

    Raises Unavailable if it is not installed, BlockFailed if it does not start.
    """
    path = nginx_path()
    if path is None:
        raise Unavailable("nginx is not installed; install it, or leave it out of --limits")
    with tempfile.TemporaryDirectory(prefix="crossfade-nginx-") as name:
        folder, port = Path(name), free_port()
        file = folder / "nginx.conf"
        file.write_text(config(folder=folder, port=port, upstream=upstream, root=os.geteuid() == 0))
        command = [path, "-e", "stderr", "-p", name, "-c", str(file)]
        with Child("nginx", ["/bin/sh", "-c", _UNTIL_EOF, "sh", *command], cpus=cpus, env=env) as child:
            yield Running(port, _wait_until_open(child, port, time.monotonic() + start_timeout_s))


def _wait_until_open(child: Child, port: int, deadline: float) -> tuple[int, ...]:
    """Master and worker. The master listens before it forks, so that an open port alone does not mean a worker."""
    while time.monotonic() < deadline:
        child.alive()
        with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
            masters = children(child.pid)
            if workers := [w for m in masters for w in children(m)]:
                return *masters, *workers
        time.sleep(0.01)
    raise BlockFailed(f"nginx: did not listen on port {port} in time; try `nginx -t` with its configuration")
