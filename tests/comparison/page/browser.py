"""A headless Chromium, driven by the DevTools protocol over a pipe; needs the standard library alone."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PATIENCE = 60.0  # seconds to wait for an answer; machines under load are slow
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
    "--hide-scrollbars", "--disable-background-networking", "--disable-component-update",
    "--disable-extensions", "--disable-sync", "--remote-debugging-pipe",
)  # fmt: skip
KEYS = {
    "Tab": 9, "Enter": 13, "Escape": 27, " ": 32, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39,
    "ArrowDown": 40, "/": 191,
}  # fmt: skip


def _plain(value: Any) -> Any:
    """Return a value of JSON whose texts have plain spaces alone."""
    if isinstance(value, str):
        return value.replace("\u00a0", " ")
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    return value


def executable() -> str | None:
    """Return the path of Chromium; None where it is not installed."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """A running Chromium. Use it as a context manager, so that it ends with its temporary profile."""

    def __init__(self) -> None:
        program = executable()
        if program is None:
            raise RuntimeError("Chromium is not installed.")
        self._profile = tempfile.mkdtemp(prefix="zoo-chromium-")
        their_read, self._write = os.pipe()
        self._read, their_write = os.pipe()
        high = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (their_read, their_write)]

        def place() -> None:  # Chromium reads commands from descriptor 3 and answers on 4
            os.dup2(high[0], 3)
            os.dup2(high[1], 4)

        command = [program, *FLAGS, f"--user-data-dir={self._profile}", "about:blank"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            preexec_fn=place, pass_fds=(3, 4), start_new_session=True,
        )  # fmt: skip
        for end in (their_read, their_write, *high):
            os.close(end)
        self._buffer, self._number = b"", 0
        self._tabs: dict[str, Tab] = {}

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._write)
        os.close(self._read)
        shutil.rmtree(self._profile, ignore_errors=True)

    def open(self, page: Path | str, *, width: int = 1400, height: int = 1000, dark: bool = False) -> Tab:
        """Open a page, a file or an address, and return its tab once it has loaded."""
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        session = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})["sessionId"]
        tab = self._tabs[session] = Tab(self, session, target)
        for domain in ("Page", "Runtime", "Network", "Log"):
            tab.call(f"{domain}.enable")
        tab.resize(width, height)
        tab.call("Page.bringToFront")  # a tab in the background draws nothing
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        motion = {"name": "prefers-reduced-motion", "value": "reduce"}
        tab.call("Emulation.setEmulatedMedia", {"features": [scheme, motion]})
        tab.go(page)
        return tab

    def call(self, method: str, values: dict[str, Any] | None = None, session: str = "") -> dict[str, Any]:
        """Send a command and return its result; events that arrive meanwhile go to their tabs."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": values or {}}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE
        while True:
            answer = self.receive(until)
            if answer is None:
                raise TimeoutError(f"Chromium has not answered {method} in {PATIENCE:.0f} seconds.")
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                return dict(answer["result"])

    def receive(self, until: float) -> dict[str, Any] | None:
        """Return the next message and give events to their tabs; None when the time is over."""
        while b"\0" not in self._buffer:
            wait = until - time.monotonic()
            if wait <= 0 or not select.select([self._read], [], [], wait)[0]:
                return None
            chunk = os.read(self._read, 1 << 16)
            if not chunk:
                raise RuntimeError("Chromium has ended.")
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\0")
        message = dict(json.loads(line))
        if "method" in message and (tab := self._tabs.get(message.get("sessionId", ""))):
            tab.on_event(message["method"], message["params"])
        return message


class Tab:
    """An open page.

    Attributes:
        requests: the addresses that the page has fetched since it was opened, itself not included.
        complaints: errors and warnings on the console, and exceptions that nothing caught.
    """

    def __init__(self, browser: Browser, session: str, target: str) -> None:
        self.browser, self.session, self.target = browser, session, target
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._address, self._loaded = "", False

    def call(self, method: str, values: dict[str, Any] | None = None) -> dict[str, Any]:
        """Send a command of the protocol to this tab."""
        return self.browser.call(method, values, self.session)

    def on_event(self, method: str, values: dict[str, Any]) -> None:
        """Note a request, a complaint or that the page has loaded."""
        if method == "Network.requestWillBeSent":
            url = values["request"]["url"]
            if url.partition("#")[0] != self._address and not url.startswith(("data:", "blob:", "about:")):
                self.requests.append(url)
        elif method == "Runtime.exceptionThrown":
            details = values["exceptionDetails"]
            self.complaints.append(details.get("exception", {}).get("description") or details["text"])
        elif method == "Runtime.consoleAPICalled" and values["type"] in ("error", "warning"):
            self.complaints.append(
                " ".join(str(a.get("value", a.get("description"))) for a in values["args"])
            )
        elif method == "Log.entryAdded" and values["entry"]["level"] in ("error", "warning"):
            self.complaints.append(values["entry"]["text"])
        elif method == "Page.loadEventFired":
            self._loaded = True

    def go(self, page: Path | str) -> None:
        """Load a page and wait until its scripts have drawn it, where it is one of zoo's."""
        address = page if isinstance(page, str) else page.resolve().as_uri()
        self._address, self._loaded = address.partition("#")[0], False
        self.call("Page.navigate", {"url": address})
        until = time.monotonic() + PATIENCE
        while not self._loaded:
            if self.browser.receive(until) is None:
                raise TimeoutError(f"{address} has not loaded in {PATIENCE:.0f} seconds.")
        self.evaluate("window.zooReady && window.zooReady.then(() => true)")

    def resize(self, width: int, height: int = 1000) -> None:
        """Give the window another size, in CSS pixels."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", size)

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, or what its promise brings, as a reader reads it.

        The page holds numbers and units together by spaces at which no line ends; here they are plain ones.
        It draws charts and claims in turns of their own: what the expression has changed is drawn on return.
        """
        value = self._value(expression)
        self._value("window.zoo?.idle?.()")
        return _plain(value)

    def _value(self, expression: str) -> Any:
        parameters = {
            "expression": expression,
            "awaitPromise": True,
            "returnByValue": True,
            "userGesture": True,
        }
        answer = self.call("Runtime.evaluate", parameters)
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            raise AssertionError(details.get("exception", {}).get("description") or details["text"])
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 20.0) -> Any:
        """Return the value of an expression as soon as it is true."""
        until = time.monotonic() + seconds
        while not (value := self.evaluate(expression)):
            if time.monotonic() > until:
                raise AssertionError(f"not true in {seconds:.0f} seconds: {expression}")
            self._pump(0.05)
        return value

    def show(self, section: str) -> None:
        """Scroll to a section of zoo's page, and wait until its chart is drawn."""
        self.call("Page.bringToFront")
        self.evaluate(f"document.querySelector('#{section}').scrollIntoView()")
        self.wait(f"Boolean(document.querySelector('#{section} .main-svg, #{section} .card'))")

    def settle(self) -> None:
        """Wait for two frames, so that what was changed is drawn."""
        self.evaluate("new Promise(r => requestAnimationFrame(() => requestAnimationFrame(() => r(true))))")

    def press(self, key: str, times: int = 1, shift: bool = False) -> None:
        """Press a key, as a user would."""
        code = KEYS.get(key, ord(key.upper()[0]))
        text = {"Enter": "\r", " ": " "}.get(key, key if len(key) == 1 else "")
        event = {"key": key, "windowsVirtualKeyCode": code, "modifiers": 8 if shift else 0}
        for _ in range(times):
            down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
            self.call("Input.dispatchKeyEvent", event | down)
            self.call("Input.dispatchKeyEvent", event | {"type": "keyUp"})

    def type(self, text: str) -> None:
        """Type a text into what has the focus."""
        self.call("Input.insertText", {"text": text})

    def screenshot(self, file: Path, whole: bool = True) -> Path:
        """Write a picture of the whole page, or of the window, and return its path."""
        answer = self.call("Page.captureScreenshot", {"format": "png", "captureBeyondViewport": whole})
        file.write_bytes(base64.b64decode(answer["data"]))
        return file

    def close(self) -> None:
        """Close the tab."""
        self.browser.call("Target.closeTarget", {"targetId": self.target})

    def _pump(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self.browser.receive(until) is not None:
            pass
