"""An S3 server in this process (moto), that can be told to fail now and then."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("moto")
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

BUCKET = "bucket"
_ERROR = b"<Error><Code>%s</Code><Message>for a test</Message><RequestId>1</RequestId></Error>"
Rule = Callable[[dict[str, Any]], tuple[str, bytes] | None]


class _Quiet(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        pass


class Server:
    """The server. rule: gives a status and an error's code for a request that is to fail.

    requests: method and path of all that came.
    """

    def __init__(self) -> None:
        self.rule: Rule | None = None
        self.requests: list[tuple[str, str]] = []
        self._application = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._answer, threaded=True, request_handler=_Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        self.requests.append((environ["REQUEST_METHOD"], environ["PATH_INFO"]))
        failing = self.rule(environ) if self.rule else None
        if failing is None:
            return self._application(environ, start)
        status, code = failing
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        body = _ERROR % code
        start(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [] if environ["REQUEST_METHOD"] == "HEAD" else [body]


@contextmanager
def serve_s3(set_variable: Callable[[str, str], None]) -> Iterator[Server]:
    """Yield a server with one empty bucket, and let this process and its children use it."""
    server = Server()
    set_variable("AWS_ENDPOINT_URL", server.url)
    set_variable("AWS_ACCESS_KEY_ID", "test-id-for-moto")
    set_variable("AWS_SECRET_ACCESS_KEY", "test-secret-for-moto")
    set_variable("AWS_DEFAULT_REGION", "us-east-1")
    forget_file_systems()
    from cortexia_video.storage.remote_path import RemotePath

    try:
        RemotePath(f"s3://{BUCKET}")._file_system.call_s3("create_bucket", Bucket=BUCKET)
        yield server
    finally:
        forget_file_systems()
        server.stop()


def forget_file_systems() -> None:
    """Let what is opened next see other variables."""
    import s3fs

    from cortexia_video.storage import remote_path

    remote_path._open_file_system.cache_clear()
    s3fs.S3FileSystem.clear_instance_cache()


def fail_each(every: int, status: str = "503 Slow Down", code: bytes = b"SlowDown", method: str = "") -> Rule:
    """Let one of `every` requests fail."""
    count = 0
    lock = threading.Lock()

    def rule(environ: dict[str, Any]) -> tuple[str, bytes] | None:
        nonlocal count
        if method and environ["REQUEST_METHOD"] != method:
            return None
        with lock:
            count += 1
            return (status, code) if count % every == 0 else None

    return rule


def put(name: str, data: bytes) -> None:
    from cortexia_video.storage.remote_path import RemotePath

    RemotePath(f"s3://{BUCKET}/{name}").write_bytes(data)


def read_all(prefix: str) -> dict[str, bytes]:
    """Return everything below a prefix, by name."""
    from cortexia_video.storage.remote_path import RemotePath

    root = RemotePath(f"s3://{BUCKET}/{prefix}")
    return {name: (root / name).read_bytes() for name, _ in root.list_files()}


def set_in_environment(name: str, value: str) -> None:
    os.environ[name] = value
