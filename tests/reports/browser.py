"""A real headless Chromium, driven over the WebDriver protocol with nothing but the standard library.

Owns one chromedriver process on a loopback port of its own choosing, one session in it, and a profile folder. Rule: a
missing browser is an error that says how to install it.
"""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HINT = "the report's browser test needs Chromium and its driver: `apt-get install chromium chromium-driver`"
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class BrowserMissing(Exception):
    """No Chromium or no chromedriver on the path; the message says how to get them."""


class Browser:
    """One session. ``run`` evaluates script, ``cdp`` speaks the DevTools protocol, ``events`` and ``console`` are
    logs."""

    def __init__(self, port: int, profile: Path, binary: str) -> None:
        self._port = port
        options = {"binary": binary, "args": [*_FLAGS, f"--user-data-dir={profile}"], "perfLoggingPrefs": {}}
        wanted = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        self._session = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": wanted}})["sessionId"]
        # Away from the page that it starts with, whose images would be told among ours.
        self._post("url", {"url": "about:blank"})

    def open(self, page: Path) -> None:
        """Load a file and wait until it has loaded."""
        self._post("url", {"url": page.as_uri()})

    def run(self, script: str) -> Any:
        """The value of a script body that ends in ``return``."""
        return self._post("execute/sync", {"script": script, "args": []})

    def cdp(self, command: str, **params: Any) -> Any:
        """One DevTools command."""
        return self._post("goog/cdp/execute", {"cmd": command, "params": params})

    def screen(self, width: int, height: int = 900, *, dark: bool = False) -> None:
        """Emulate a screen of this many CSS pixels and a colour scheme."""
        self.cdp("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.cdp("Emulation.setEmulatedMedia", features=[scheme])

    def console(self) -> list[str]:
        """What the page complained of since the last call."""
        return [f"{line['level']}: {line['message']}" for line in self._post("se/log", {"type": "browser"})]

    def requests(self) -> list[str]:
        """Every address asked for since the last call, the page itself among them."""
        events = [json.loads(line["message"])["message"] for line in self._post("se/log", {"type": "performance"})]
        return [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]

    def picture(self, *, whole: bool = True) -> bytes:
        """A PNG of the whole page as it is shown now, or of what the screen shows of it."""
        found = self.cdp("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        return base64.b64decode(found["data"])

    def quit(self) -> None:
        self._ask("DELETE", f"/session/{self._session}", None)

    def _post(self, what: str, body: dict[str, Any]) -> Any:
        return self._ask("POST", f"/session/{self._session}/{what}", body)

    def _ask(self, verb: str, path: str, body: dict[str, Any] | None) -> Any:
        line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        try:
            line.request(verb, path, None if body is None else json.dumps(body), {"Content-Type": "application/json"})
            answer = line.getresponse()
            value = json.loads(answer.read())["value"]
        finally:
            line.close()
        if answer.status != http.client.OK:
            raise RuntimeError(f"chromedriver: {verb} {path.rpartition('/')[2]}: {value['error']}: {value['message']}")
        return value


@contextlib.contextmanager
def browser() -> Iterator[Browser]:
    """Start driver and browser, and end both. Raises BrowserMissing."""
    binary = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if binary is None or driver is None:
        raise BrowserMissing(HINT)
    with tempfile.TemporaryDirectory(prefix="crossfade-browser-", ignore_cleanup_errors=True) as folder:
        child = subprocess.Popen(
            [driver, "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_CACHE_HOME": folder},
        )
        try:
            found = Browser(_port(child), Path(folder) / "profile", binary)
            try:
                yield found
            finally:
                found.quit()
        finally:
            child.terminate()
            child.wait(timeout=10)
            if child.stdout is not None:
                child.stdout.close()


def _port(child: subprocess.Popen[str]) -> int:
    """The port that the driver chose; it says so on a line of its own, after its greeting."""
    said = []
    assert child.stdout is not None
    for line in child.stdout:
        said.append(line)
        if match := re.search(r"started successfully on port (\d+)", line):
            return int(match[1])
    raise RuntimeError(f"chromedriver ended before it was ready: {''.join(said)}")
