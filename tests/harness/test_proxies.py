"""nginx as a limit: it relays, it is counted whole, and it never outlives the harness."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.unavailable import needs

from crossfade.harness import memory, proxies
from crossfade.harness.problems import BlockFailed, Unavailable


@pytest.fixture
def nginx() -> None:
    needs(nginx="nginx-light")


class Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.mark.usefixtures("nginx")
def test_it_relays_large_bodies_and_both_processes_are_counted() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        with proxies.nginx(server.server_address[1], cpus=None) as running:
            assert len(running.pids) == 2
            assert memory.read(running.pids).pss_kib > 500
            connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
            for size in (16, 65_536):
                connection.request("POST", "/mcp", b"x" * size)
                assert len(connection.getresponse().read()) == size
            connection.close()
    finally:
        server.shutdown()
        server.server_close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in running.pids)


@pytest.mark.usefixtures("nginx")
def test_it_ends_with_a_harness_that_was_killed() -> None:
    code = (
        "import json, os, time\n"
        "from crossfade.harness.proxies import nginx\n"
        "with nginx(9, cpus=None) as running:\n"
        "    print(json.dumps(running.pids), flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as harness:
        assert harness.stdout is not None
        pids = json.loads(harness.stdout.readline())
        os.kill(harness.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "nginx outlived the harness"
        time.sleep(0.02)


def test_it_is_unavailable_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "nginx_path", lambda: None)
    with pytest.raises(Unavailable, match="not installed"), proxies.nginx(9, cpus=None):
        pass


def test_one_that_does_not_start_is_a_failed_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proxies, "nginx_path", lambda: "/bin/false")
    with pytest.raises(BlockFailed, match="nginx: "), proxies.nginx(9, cpus=None, start_timeout_s=1.0):
        pass


def test_the_configuration_keeps_connections_and_writes_into_its_folder_only() -> None:
    text = proxies.config(folder=Path("/tmp/place"), port=1, upstream=2, root=False)  # noqa: S108 - only a name
    assert "worker_processes 1;" in text
    assert "keepalive 512;" in text
    assert "user " not in text
    paths = [word for word in text.replace(";", " ").split() if word.startswith("/tmp")]  # noqa: S108 - only a name
    assert len(paths) == 6
    assert all(path.startswith("/tmp/place/") for path in paths)  # noqa: S108 - only a name
