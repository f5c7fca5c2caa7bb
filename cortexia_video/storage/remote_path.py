"""`RemotePath`: a URL of an object store, with those of `pathlib.Path`'s methods that are used here.

fsspec does the work. Its errors come out as `OSError` with words for people, after a few tries where the
other side is busy (`remote_errors`). URLs may hold secrets (a user's name and password, a signed query):
`str()` gives one without.
"""

from __future__ import annotations

import errno
import functools
import io
import os
import posixpath
import re
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, Any, NamedTuple
from urllib.parse import urlsplit

import xxhash

from cortexia_video.errors import InputError, redact
from cortexia_video.storage.listing import find_listing, match_below
from cortexia_video.storage.remote_file import PartsFile, RetryingFile
from cortexia_video.storage.retries import RemotePermissionError, call

# Schemes, and the package that fsspec needs for each.
EXTRAS = {
    "s3": "s3fs",
    "gs": "gcsfs",
    "az": "adlfs",
    "https": "aiohttp",
    "http": "aiohttp",
    "memory": "",
}
# One request for an object, not one for its size and then more: our threads are what reads at the same time.
_OPTIONS: dict[str, dict[str, Any]] = {
    "s3": {"max_concurrency": 1, "config_kwargs": {"max_pool_connections": 64}}
}
_MARKS = ("ETag", "etag", "md5Hash", "LastModified", "last_modified", "mtime", "updated", "created")
_BLOCK = 1 << 23  # bytes that are read ahead
_WEB = ("http", "https")
_WEB_URLS = tuple(f"{scheme}://" for scheme in _WEB)
_CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS, the path of a key file",
}
_NO_HOST = re.compile(r"[\x00-\x20\x7f<>\"\\^`{|}]")  # in no name of a server or bucket
_USER = re.compile(r"(?<=://)[^/?#]*@")


class RemoteStat(NamedTuple):
    """An object as it was found, in the words of `os.stat_result`.

    st_mtime_ns: no time but 63 bits that follow from the object's ETag, or else its time of change: another
    number means another content.
    """

    st_size: int
    st_mtime_ns: int


class RemotePath:
    """A URL such as `s3://bucket/key`; a folder is what keys begin with."""

    __slots__ = ("url",)

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        scheme = scheme.lower()
        self.url = f"{scheme}://{rest if '?' in rest and scheme in _WEB else rest.rstrip('/')}"

    def __truediv__(self, name: str | os.PathLike[str]) -> RemotePath:
        return RemotePath(f"{self.url}/{os.fspath(name)}")

    def __str__(self) -> str:
        return redact(self._plain)

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and other.url == self.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __lt__(self, other: RemotePath) -> bool:
        """Sort as paths do: by what stands between the slashes."""
        return self.url.split("/") < other.url.split("/")

    @property
    def scheme(self) -> str:
        return self.url.partition("://")[0]

    @property
    def can_list(self) -> bool:
        """Return whether one can ask what is inside: a web server only gives what is asked for by name."""
        return not self.url.startswith(_WEB_URLS)

    @property
    def parts(self) -> tuple[str, ...]:
        """Return what stands between the slashes; the bucket comes first."""
        return tuple(urlsplit(self._plain).netloc.split("/")) + tuple(
            self._key.split("/") if self._key else ()
        )

    @property
    def name(self) -> str:
        return posixpath.basename(self._plain)

    @property
    def suffix(self) -> str:
        return posixpath.splitext(self.name)[1]

    @property
    def stem(self) -> str:
        return posixpath.splitext(self.name)[0]

    @property
    def parent(self) -> RemotePath:
        if not self._key:
            return self
        named = self.url if self.can_list else self.url.partition("?")[0]
        return RemotePath(posixpath.dirname(named))

    def relative_to(self, other: RemotePath) -> PurePosixPath:
        """Return the rest of the URL below another; `ValueError` where it is not below."""
        return PurePosixPath(self._plain).relative_to(other._plain)

    def with_name(self, name: str) -> RemotePath:
        return self.parent / name

    def match(self, pattern: str) -> bool:
        return PurePosixPath("/".join(self.parts)).match(pattern)

    def resolve(self) -> RemotePath:
        """Return the URL itself: it is absolute."""
        return self

    @property
    def _key(self) -> str:
        return self._plain.partition("://")[2].partition("/")[2]

    @property
    def _plain(self) -> str:
        """Return what names the object: the URL without user, password and, of the web, query."""
        plain = _USER.sub("", self.url) if "@" in self.url else self.url
        return plain if self.can_list else plain.partition("?")[0]

    @property
    def _file_system(self) -> Any:
        return call(lambda: _open_file_system(self.scheme, os.getpid()), str(self))

    def stat(self) -> RemoteStat:
        """Look at the object. Raises `OSError`, as all that follow."""
        info = self._ask(lambda system: system.info(self.url))
        if info.get("type") == "directory":
            raise IsADirectoryError(21, "it is a folder, not an object")
        return read_stat(info)

    def exists(self) -> bool:
        """Return whether an object or a folder exists."""
        if (known := find_listing(self)) is not None:
            return known[0].has_file(known[1]) or known[0].has_folder(known[1])
        return bool(self._ask(lambda system: system.exists(self.url)))

    def is_file(self) -> bool:
        if (known := find_listing(self)) is not None:
            return known[0].has_file(known[1])
        try:
            self.stat()
        except (FileNotFoundError, IsADirectoryError):
            return False
        return True

    def is_dir(self) -> bool:
        if (known := find_listing(self)) is not None:
            return known[0].has_folder(known[1])
        return bool(self._ask(lambda system: system.isdir(self.url)))

    def read_bytes(self, start: int | None = None, end: int | None = None) -> bytes:
        """Read the object, or its bytes from `start` to before `end`."""
        try:
            data = self._ask(lambda system: system.cat_file(self.url, start=start, end=end))
        except OSError as error:  # S3 has no part of an object without any bytes
            if start is None or error.errno != errno.EINVAL or self.stat().st_size:
                raise
            return b""
        return bytes(data)

    def read_text(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        return self.read_bytes().decode(encoding, errors)

    def glob(self, pattern: str) -> Iterator[RemotePath]:
        """Yield the objects and folders below that fit a pattern, sorted; that takes one listing."""
        return (self / name for name in match_below(self, pattern))

    def open(self, mode: str = "rb", buffering: int = -1) -> IO[bytes]:
        """Open the object to read it from its start on; or, with `buffering`, here and there.

        buffering: bytes of a request, which are kept; 0: each request is for what is asked for.
        """
        if mode != "rb":
            raise ValueError(mode)
        if buffering >= 0:
            parts = PartsFile(self.stat().st_size, self.read_bytes)
            return io.BufferedReader(parts, buffering) if buffering else parts  # type: ignore[return-value]
        opened = self._ask(lambda system: system.open(self.url, "rb", block_size=_BLOCK))
        return io.BufferedReader(RetryingFile(opened, str(self)), _BLOCK)

    def write_bytes(self, data: bytes | memoryview) -> None:
        """Write an object atomically."""
        self._require_store()
        self._ask(lambda system: system.pipe_file(self.url, bytes(data)))

    def put_file(self, local: Path) -> None:
        """Write what a file holds, a large one in parts: the object exists once all of it has arrived."""
        self._require_store()
        self._ask(lambda system: system.put_file(os.fspath(local), self.url))

    def put_chunks(self, chunks: Iterable[bytes | memoryview]) -> None:
        """Write a large object by way of a file of this disk, in which its pieces are gathered."""
        with tempfile.NamedTemporaryFile(prefix="cortexia-") as file:
            file.writelines(chunks)
            file.flush()
            self.put_file(Path(file.name))

    def get_file(self, local: Path) -> None:
        """Fetch the object into a file."""
        self._ask(lambda system: system.get_file(self.url, os.fspath(local)))

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            self._ask(lambda system: system.rm_file(self.url))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def list_files(self, *, recursive: bool = True) -> Iterator[tuple[str, RemoteStat]]:
        """Yield what is inside: names relative to here, each as it was found, page by page, in one order.

        Of S3 a page is a thousand keys; elsewhere it is a folder. Where nothing is, nothing is listed; where
        there is no bucket, `FileNotFoundError`.
        """
        if not self.can_list:
            raise InputError(f"{self} cannot be listed: give a list.txt of URLs")
        pages = self._list_keys(recursive) if self.scheme == "s3" else self._walk(recursive)
        try:
            for page in pages:
                yield from page
        except FileNotFoundError as error:
            if "bucket:" in str(error.strerror):
                raise  # else, of some stores: a folder where nothing is, does not exist

    def _list_keys(self, recursive: bool) -> Iterator[list[tuple[str, RemoteStat]]]:
        bucket, prefix = urlsplit(self.url).netloc, f"{self._key}/" if self._key else ""
        asked = {"Bucket": bucket, "Prefix": prefix, **({} if recursive else {"Delimiter": "/"})}
        while True:
            page = self._ask(lambda system: system.call_s3("list_objects_v2", **asked))
            yield [
                (each["Key"][len(prefix) :], read_stat(each))
                for each in page.get("Contents", ())
                if not each["Key"].endswith("/")
            ]
            if not page.get("IsTruncated"):
                return
            asked["ContinuationToken"] = page["NextContinuationToken"]

    def _walk(self, recursive: bool) -> Iterator[list[tuple[str, RemoteStat]]]:
        system = self._file_system
        top = system._strip_protocol(self.url).rstrip("/")
        steps = system.walk(self.url, detail=True, maxdepth=None if recursive else 1, on_error="raise")
        while (step := call(lambda: next(steps, None), str(self))) is not None:
            folder, folders, files = step
            beneath = folder.strip("/")[len(top.strip("/")) :].strip("/")
            for name in sorted(folders):  # walk goes down in the order that it finds here
                folders[name] = folders.pop(name)
            yield [(f"{beneath}/{name}".lstrip("/"), read_stat(files[name])) for name in sorted(files)]

    def _require_store(self) -> None:
        if not self.can_list:
            reason = "nothing can be written to a web server: give a path, or a URL such as s3://bucket/depth"
            raise RemotePermissionError(errno.EROFS, reason)

    def _ask(self, work: Any) -> Any:
        system = self._file_system
        return call(lambda: work(system), str(self))


def require_url(url: str) -> None:
    """Refuse what no URL can be, and credentials before the name of a bucket, which are not shown."""
    scheme, _, rest = url.partition("://")
    scheme, host = scheme.lower(), rest.partition("/")[0]
    if not host and scheme not in _WEB:
        raise InputError(f"{url} names no bucket: give s3://bucket or s3://bucket/prefix")
    if scheme in _CREDENTIALS and ("@" in host or (":" in host and not host.startswith("arn:"))):
        advice = f"credentials are not taken from URLs: set {_CREDENTIALS[scheme]}"
        raise InputError(f"{scheme}://***: {advice}")
    try:
        parts = urlsplit(url)
        sound = scheme not in _WEB or bool(parts.hostname and parts.port != 0)
    except ValueError:  # of brackets without an IPv6 URL, of a port that is no number
        sound = False
    if not sound or _NO_HOST.search(host):
        named = "server" if scheme in _WEB else "bucket"
        raise InputError(f"{redact(url)} is no URL: check the name of its {named}")


def read_stat(info: dict[str, Any]) -> RemoteStat:
    """Read what fsspec, or a page of S3's, says of an object."""
    mark = next(filter(None, map(info.get, _MARKS)), "")
    size = info.get("Size") or info.get("size") or 0
    return RemoteStat(int(size), xxhash.xxh3_64_intdigest(str(mark).encode()) >> 1)


@functools.cache
def _open_file_system(scheme: str, process: int) -> Any:
    """Return the file system of a scheme in a process: a forked one has not the thread that asks."""
    import fsspec

    options = dict(_OPTIONS.get(scheme, {}))
    if scheme == "s3":
        from cortexia_video.storage.s3_answers import open_session

        options["session"] = open_session()
    return fsspec.filesystem(scheme, use_listings_cache=False, **options)
