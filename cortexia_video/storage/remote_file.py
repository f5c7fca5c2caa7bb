"""Remote files, read one after the other, or in parts."""

from __future__ import annotations

import errno
import io
from collections.abc import Callable
from typing import Any

from cortexia_video.storage.retries import RemoteError, call


class RetryingFile(io.RawIOBase):
    """A file of fsspec's whose reading is tried again."""

    def __init__(self, file: Any, name: str) -> None:
        self._file = file
        self._name = name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(self._file.seek(offset, whence))

    def tell(self) -> int:
        return int(self._file.tell())

    def readinto(self, buffer: Any) -> int:
        data = call(lambda: self._file.read(len(buffer)), self._name)
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._file.close()
        super().close()


class PartsFile(io.RawIOBase):
    """A file of which only what is asked for is read, each time by a request of its own.

    size: bytes. read: gives those from one place to before another. It holds no connection, so that a forked
    process can read on.
    """

    def __init__(self, size: int, read: Callable[[int, int], bytes]) -> None:
        self._size = size
        self._read = read
        self._place = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._size}[whence]
        self._place = max(0, start + offset)
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        count = max(0, min(len(buffer), self._size - self._place))
        if not count:
            return 0
        data = self._read(self._place, self._place + count)
        if len(data) != count:
            raise RemoteError(errno.EIO, "its server gives no parts of it, or it changed: copy it here")
        buffer[:count] = data
        self._place += count
        return count
