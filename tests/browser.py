"""A real browser for tests: headless Chromium, driven by its DevTools protocol.

Skipped where there is no Chromium, but never in CI: see `peers`.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from peers import need

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-allow-origins=*",
    "--remote-debugging-port=0",
)
PATIENCE = 180.0  # seconds for anything that the browser is asked for, on a busy machine, too


def find_chromium() -> str:
    """Return the path of Chromium, or skip the test; in CI, where it must be there, fail."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        assert not os.environ.get("CI"), f"CI needs one of {', '.join(NAMES)}"
        pytest.skip("there is no Chromium here")
    return found


class Page:
    """One tab, with what it logged and what it asked the network for."""

    def __init__(self, socket: Any):
        self._socket = socket
        self._number = 0
        self.errors: list[str] = []
        self.requests: list[str] = []
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command; return its result. Events that come in between are noted."""
        self._number += 1
        self._socket.send(json.dumps({"id": self._number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv())
            if message.get("id") == self._number:
                if "error" in message:
                    raise RuntimeError(f"{method}: {message['error']}")
                return message["result"]
            self._note(message)

    def _note(self, event: dict[str, Any]) -> None:
        method, parameters = event.get("method"), event.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(parameters["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and parameters["type"] in ("error", "warning"):
            self.errors.append(str(parameters["args"]))
        elif method == "Log.entryAdded" and parameters["entry"]["level"] in ("error", "warning"):
            self.errors.append(parameters["entry"]["text"])
        elif method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])

    def open(self, place: Path | str) -> None:
        """Open a file or an address, and wait until it is there."""
        self._go("about:blank")  # from here on the last page logs and asks for nothing
        self.errors, self.requests = [], []
        self._go(place if isinstance(place, str) else place.as_uri())

    def _go(self, url: str) -> None:
        self.call("Page.navigate", url=url)
        self.wait_for(f"document.readyState === 'complete' && location.href === {json.dumps(url)}")

    def evaluate(self, script: str) -> Any:
        """Return the value of a JavaScript expression."""
        result = self.call("Runtime.evaluate", expression=script, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait_for(self, script: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self._is_true(script):
            assert time.monotonic() < end, f"waited in vain for {script}"
            time.sleep(0.02)

    def _is_true(self, script: str) -> bool:
        """Evaluate it; a page that is just being left says nothing."""
        try:
            return bool(self.evaluate(script))
        except RuntimeError as error:
            if "navigated" in str(error):
                return False
            raise

    def place_of(self, selector: str) -> tuple[float, float]:
        """Scroll an element into view, and return its centre."""
        quoted = json.dumps(selector)
        self.evaluate(
            f"document.querySelector({quoted})"
            ".scrollIntoView({block: 'center', behavior: 'instant'})"
        )
        x, y = self.evaluate(
            f"(() => {{ const r = document.querySelector({quoted}).getBoundingClientRect();"
            "return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        return x, y

    def hover(self, selector: str) -> None:
        """Move the mouse onto an element."""
        x, y = self.place_of(selector)
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def click(self, selector: str) -> None:
        """Press and release the mouse on an element."""
        x, y = self.place_of(selector)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, key: str, code: int) -> None:
        """Press a key on whatever has the focus."""
        for kind in ("rawKeyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code
            )

    def look_like(self, *, width: int = 1100, height: int = 800, dark: bool = False) -> None:
        """Set the size of the window and the theme that its reader prefers."""
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """Save the whole page as PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(data["data"]))


@contextmanager
def browser() -> Iterator[Page]:
    """Start Chromium with an empty profile, and end it afterwards."""
    executable = find_chromium()
    websocket = need("websocket")
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [executable, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            port = _port(Path(profile) / "DevToolsActivePort", process)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json", timeout=PATIENCE) as reply:
                tabs = json.load(reply)
            address = next(t["webSocketDebuggerUrl"] for t in tabs if t["type"] == "page")
            socket = websocket.create_connection(address, timeout=PATIENCE)
            try:
                yield Page(socket)
            finally:
                socket.close()
        finally:
            process.terminate()
            process.wait(PATIENCE)


def _port(file: Path, process: "subprocess.Popen[bytes]") -> int:
    end = time.monotonic() + PATIENCE
    while not (file.exists() and file.read_text().strip()):
        assert process.poll() is None, f"the browser ended with exit code {process.returncode}"
        assert time.monotonic() < end, "the browser did not open its port"
        time.sleep(0.05)
    return int(file.read_text().split()[0])
