"""A real browser for tests: Chromium without a window, driven over its debugging pipe; nothing to install."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from conftest import HANG_S

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
_ARGUMENTS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # it cannot be had in most containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--hide-scrollbars",
)


_DRAWING = (
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-gpu-blocklist",
)


class Browser:
    """One page of a browser. events: all that it said of itself, such as errors and requests.

    draws: by WebGL, too, on the processor.

    The protocol is JSON texts with a zero byte behind each, to its descriptor 3 and from its 4
    (https://chromedevtools.github.io/devtools-protocol/).
    """

    def __init__(self, profile: Path, *, draws: bool = False) -> None:
        self.events: list[dict[str, Any]] = []
        self._number = 0
        self._session: dict[str, str] = {}
        to_browser, self._write = _make_pipe()
        self._read, from_browser = _make_pipe()
        shell = f'exec "$0" "$@" 3<&{to_browser} 4>&{from_browser}'
        command = [
            "bash",
            "-c",
            shell,
            str(CHROMIUM),
            *(each for each in _ARGUMENTS if not (draws and each == "--disable-gpu")),
            *(_DRAWING if draws else ()),
            f"--user-data-dir={profile}",
            "about:blank",
        ]
        self._process = subprocess.Popen(
            command, pass_fds=(to_browser, from_browser), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(to_browser)
        os.close(from_browser)
        self._answers = os.fdopen(self._read, "rb")
        self._messages = self._read_messages()

    def __enter__(self) -> Self:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self._session = {"sessionId": session}
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        return self

    def __exit__(self, *_: object) -> None:
        self._session = {}
        with contextlib.suppress(OSError, EOFError):
            self.call("Browser.close")
        os.close(self._write)
        self._answers.close()
        self._process.wait(timeout=HANG_S)

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Call a method of the protocol, and wait for its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters, **self._session}
        os.write(self._write, json.dumps(message).encode() + b"\0")
        for answer in self._messages:
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self.events.append(answer)
        raise EOFError(method)

    def open(self, page: Path | str) -> None:
        """Open a file or a URL, and wait until it and its images are there."""
        self.call("Page.navigate", url=page if isinstance(page, str) else page.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(next(self._messages))

    def look(self, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Set the size of the window, in pixels, and the colours that the person prefers."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def evaluate(self, script: str) -> Any:
        """Return the value of JavaScript that runs in the page; a promise is waited for."""
        found = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key as a person does: Enter, Escape, Tab, ArrowLeft ..."""
        codes = {"Enter": 13, "Escape": 27, "Tab": 9, "ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39}
        about = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        text = {"text": "\r"} if key == "Enter" else {}
        self.call("Input.dispatchKeyEvent", type="keyDown", **about, **text)
        self.call("Input.dispatchKeyEvent", type="keyUp", **about)

    def point(self, x: float, y: float) -> None:
        """Move the mouse, in pixels of the window."""
        self.call("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)

    def screenshot(self, *, whole: bool = False) -> bytes:
        """Return a PNG of what is seen, or of the whole page."""
        return base64.b64decode(self.call("Page.captureScreenshot", captureBeyondViewport=whole)["data"])

    def print(self) -> bytes:
        """Return a PDF of the page, A4."""
        paper = {"paperWidth": 8.27, "paperHeight": 11.69}
        return base64.b64decode(self.call("Page.printToPDF", printBackground=True, **paper)["data"])

    def _read_messages(self) -> Iterator[dict[str, Any]]:
        rest = b""
        while piece := self._answers.read1(1 << 16):
            *texts, rest = (rest + piece).split(b"\0")
            for text in texts:
                yield json.loads(text)


def _make_pipe() -> tuple[int, int]:
    """Return the ends of a pipe, with numbers above those that the browser wants."""
    ends = os.pipe()
    reading, writing = (fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
    for end in ends:
        os.close(end)
    return reading, writing
