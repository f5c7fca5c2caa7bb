"""The two ways to look: Rerun's window, fed through a pipe, and its web viewer, behind a server on loopback.

Nothing leaves this machine. Rerun's executable gets folders for its settings that say that it may not report,
and are gone afterwards. Its web page reports whatever is set, so a policy of our server keeps the browser from
everything but that server.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from urllib.error import URLError

from cortexia_video.errors import InputError, OutputError, describe

_LOOPBACK = "127.0.0.1"
_STARTS_S = 60
_POLICY = (
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'wasm-unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; worker-src 'self' blob:"
)
_LOG = "error"
_MEMORY = "4GiB"  # of the viewer; it then drops the oldest

Pieces = Callable[[], Iterable[bytes]]  # of a recording, made anew by each call


def show_window(pieces: Pieces) -> None:
    """Show a recording in Rerun's window, until it is closed; raises `InputError` where there is no display."""
    is_headless = sys.platform == "linux" and not ({"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys())
    if is_headless:
        raise InputError(
            "there is no display here for a window: use `web`, or `output` and view that elsewhere"
        )
    options = ["--port", "auto", "--memory-limit", _MEMORY, "--hide-welcome-screen", "-"]
    with _start(options, stdin=subprocess.PIPE) as viewer:
        assert viewer.stdin is not None
        with suppress(BrokenPipeError):  # the window was closed
            for piece in pieces():
                viewer.stdin.write(piece)
                viewer.stdin.flush()
            viewer.stdin.close()
        if viewer.wait():
            raise OutputError(
                f"the viewer ended with code {viewer.returncode}: use `web`, or `output` and view that elsewhere"
            )


@contextmanager
def serve_web(pieces: Pieces, port: int) -> Iterator[str]:
    """Serve the web viewer with a recording to this machine, and yield its URL.

    port: 0 for any that is free. Raises `InputError` where it is in use.
    """
    with socket.create_server((_LOOPBACK, 0)) as free:
        inner: int = free.getsockname()[1]
    name = f"/{secrets.token_urlsafe(16)}.rrd"  # that other people of this machine do not know
    handler = type("_Handler", (_Handler,), {"inner": inner, "name": name, "pieces": staticmethod(pieces)})
    try:
        server = ThreadingHTTPServer((_LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        why = describe(error) if isinstance(error, OSError) else "no such port"
        raise InputError(f"port {port}: {why}: choose another `port`, or 0 for any that is free") from error
    host = f"http://{_LOOPBACK}:{server.server_port}"
    options = ["--serve-web", "--web-viewer-port", str(inner), f"{host}{name}"]
    with server, _start(options, stdin=subprocess.DEVNULL) as viewer:
        _await(viewer, inner)
        threading.Thread(target=server.serve_forever, name="cortexia-web", daemon=True).start()
        yield f"{host}/?url={host}{name}"
        server.shutdown()


class _Handler(BaseHTTPRequestHandler):
    """Answers with the recording, and for all else with what Rerun's own server has, under a policy.

    inner: the port of that. name: of the recording.
    """

    protocol_version = "HTTP/1.1"
    inner: int
    name: str
    pieces: Pieces

    def do_GET(self) -> None:
        """Answer; who is not asking for this machine by its number or `localhost` is a page of others."""
        host = (self.headers["Host"] or "").rpartition(":")[0]
        if host not in (_LOOPBACK, "localhost"):
            self.send_error(403)
        elif self.path == self.name:
            self._send_recording()
        else:
            self._send_page()

    def _send_recording(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        with suppress(ConnectionError):  # the page was closed
            for piece in self.pieces():
                if piece:
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
            self.wfile.write(b"0\r\n\r\n")

    def _send_page(self) -> None:
        try:
            with urllib.request.urlopen(f"http://{_LOOPBACK}:{self.inner}{self.path}") as found:
                kind, body = found.headers["Content-Type"], found.read()
        except URLError as error:
            self.send_error(getattr(error, "code", 502))
            return
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(ConnectionError):
            self.wfile.write(body)

    def log_message(self, format: str, *values: object) -> None:
        """Say nothing of requests."""


@contextmanager
def _start(options: list[str], *, stdin: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run Rerun's executable, on loopback alone, and end it; what it writes to a home goes with it."""
    found = find_spec("rerun_cli")
    assert found is not None and found.origin is not None, "rerun-sdk has both"
    folder = Path(found.origin).parent
    names = ("Rerun.app/Contents/MacOS/Rerun", "rerun.exe", "rerun")
    executable = next((each for name in names if (each := folder / name).is_file()), None)
    if executable is None:
        raise OutputError(f"no viewer in {folder}: pip install --force-reinstall rerun-sdk")
    with tempfile.TemporaryDirectory(prefix="cortexia-view-") as home:
        command = [str(executable), "--bind", _LOOPBACK, *options]
        log = Path(home) / "log"
        with log.open("wb") as said:
            process = subprocess.Popen(
                command, stdin=stdin, stdout=said, stderr=said, env=os.environ | _keep_quiet(Path(home))
            )
        try:
            yield process
        finally:
            if process.stdin:
                with suppress(OSError):
                    process.stdin.close()
            process.terminate()
            process.wait()


def _keep_quiet(home: Path) -> dict[str, str]:
    """Return an environment by which Rerun reports nothing and keeps nothing in the person's home."""
    folders = {name: home / name for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME")}
    settings = home / "XDG_CONFIG_HOME" / "rerun"
    if sys.platform == "darwin":
        folders, settings = {"HOME": home}, home / "Library" / "Application Support" / "rerun"
    settings.mkdir(parents=True)
    file = settings / "analytics.json"
    said = {
        "analytics_enabled": False,
        "analytics_id": "",
        "config_file_path": str(file),
        "data_dir_path": str(home),
    }
    file.write_text(json.dumps(said))
    return {
        **{name: str(each) for name, each in folders.items()},
        "FORCE_RERUN_ANALYTICS": "0",
        "RUST_LOG": _LOG,
    }


def _await(viewer: subprocess.Popen[bytes], port: int) -> None:
    """Wait until Rerun's server answers; raises `OutputError` where it does not."""
    end = time.monotonic() + _STARTS_S
    while viewer.poll() is None and time.monotonic() < end:
        with suppress(OSError), socket.create_connection((_LOOPBACK, port), timeout=1):
            return
        time.sleep(0.05)
    raise OutputError(f"the web viewer does not start (code {viewer.poll()}): use `output`")
