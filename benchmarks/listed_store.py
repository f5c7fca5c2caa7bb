"""A bucket of as many images and maps as one likes, which answers for S3 in this process and keeps only what is put."""

from __future__ import annotations

import io
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import fsspec
from fsspec import AbstractFileSystem

_PAGE = 1000
_ETAG = '"of all that is listed"'


class ListedStore(AbstractFileSystem):
    """`s3://bucket/in/00000000.jpg` and so on, each of them `image`; `out/00000000.jpg.npy` and what was put."""

    protocol = "s3"
    cachable = False
    count: ClassVar[int] = 0
    image: ClassVar[bytes] = b""
    map_bytes: ClassVar[int] = 0
    objects: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[Counter[str]] = Counter()

    def call_s3(self, method: str, *, Bucket: str, Prefix: str = "", **asked: Any) -> dict[str, Any]:
        """Answer `list_objects_v2`: a page of a thousand keys, in order."""
        self.asked[method] += 1
        start = int(asked.get("ContinuationToken", 0))
        page: dict[str, Any] = {
            "Contents": [
                {"Key": Prefix + name, "Size": size, "ETag": _ETAG}
                for name, size in self._listed(Prefix, start)
            ]
        }
        if start + _PAGE < self.count and self._is_listed(Prefix):
            page |= {"IsTruncated": True, "NextContinuationToken": str(start + _PAGE)}
        return page

    def _listed(self, prefix: str, start: int) -> Iterator[tuple[str, int]]:
        last = not self._is_listed(prefix) or start + _PAGE >= self.count
        if self._is_listed(prefix):
            suffix, size = (".jpg", len(self.image)) if prefix == "in/" else (".jpg.npy", self.map_bytes)
            for number in range(start, min(start + _PAGE, self.count)):
                yield f"{number:08d}{suffix}", size
        for name in sorted(self.objects) if last else ():
            if name.startswith(prefix):
                yield name[len(prefix) :], len(self.objects[name])

    def _is_listed(self, prefix: str) -> bool:
        return prefix == "in/" or (prefix == "out/" and self.map_bytes > 0)

    def _find(self, url: str) -> bytes:
        key = self._strip_protocol(url).partition("/")[2]
        if key.startswith("in/") and key.endswith(".jpg"):
            return self.image
        if key not in self.objects:
            raise FileNotFoundError(url)
        return self.objects[key]

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        self.asked["info"] += 1
        return {"name": path, "size": len(self._find(path)), "type": "file", "ETag": _ETAG}

    def exists(self, path: str, **_: Any) -> bool:
        return self.isdir(path) or self._strip_protocol(path).startswith("bucket/in/")

    def isdir(self, path: str) -> bool:
        return self._strip_protocol(path) in ("bucket", "bucket/in", "bucket/out")

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        self.asked["cat_file"] += 1
        return self._find(path)[start:end]

    def open(self, path: str, *_: Any, **__: Any) -> io.BytesIO:
        return io.BytesIO(self._find(path))

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        self.objects[self._strip_protocol(path).partition("/")[2]] = value

    def rm_file(self, path: str) -> None:
        del self.objects[self._strip_protocol(path).partition("/")[2]]


def begin(count: int, image: bytes) -> None:
    """Let `s3://` be a bucket with `count` images; without maps."""
    fsspec.register_implementation("s3", ListedStore, clobber=True)
    ListedStore.count, ListedStore.image, ListedStore.map_bytes, ListedStore.objects = count, image, 0, {}


def finish(count: int) -> None:
    """Let the bucket be as if the run over its one image had been over `count`: a map and two lines for each."""
    objects = ListedStore.objects
    maps = [len(data) for name, data in objects.items() if name.endswith(".npy")]
    segments = sorted(name for name in objects if name.startswith("out/ledger/"))
    lines = b"".join(objects.pop(name) for name in segments).splitlines(keepends=True)
    of_image = [line.decode() for line in lines if b'"outcome": "' in line]
    others = [line for line in lines if b'"outcome": "' not in line]
    known = json.loads(of_image[-1])["key"]
    parts = [
        "".join(each.replace(known, f"{number:08d}.jpg") for each in of_image) for number in range(count)
    ]
    for place in range(0, count, 10_000):
        name = segments[0].replace(".000000.", f".{place // 10_000:06d}.")
        objects[name] = (
            b"".join(others if not place else []) + "".join(parts[place : place + 10_000]).encode()
        )
    for name in [name for name in objects if name.endswith(".npy")]:
        del objects[name]
    ListedStore.count, ListedStore.map_bytes = count, maps[0]
    ListedStore.asked.clear()
