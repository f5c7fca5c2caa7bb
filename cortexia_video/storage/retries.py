"""What can go wrong with a remote file, in words for people; and trying again where that may help."""

from __future__ import annotations

import errno
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from cortexia_video.errors import ExplainedError, explain_import

Result = TypeVar("Result")

TRIES = 4
_FIRST_PAUSE_S = 0.25
_NOW_AND_THEN = frozenset(
    {errno.EBUSY, errno.EIO, errno.EAGAIN, errno.ETIMEDOUT, errno.ECONNRESET, errno.EPIPE}
)
_BUSY_WORDS = re.compile(
    r"SlowDown|reduce your request rate|Throttl|InternalError|ServiceUnavailable|TooManyRequests"
)
_NO_CREDENTIALS = re.compile(
    r"NoCredentials|PartialCredentials|CredentialRetrieval|DefaultCredentials|NoAuthToken"
)
_WRONG_CREDENTIALS = re.compile(
    r"InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|Unauthorized"
)
_NO_BUCKET = re.compile(r"NoSuchBucket|bucket does not exist|ContainerNotFound", re.IGNORECASE)
_NO_URL = re.compile(r"InvalidURL|ParamValidation|InvalidBucketName|Invalid bucket name|InvalidObjectName")
_CANNOT_CONNECT = re.compile(
    r"EndpointConnectionError|ClientConnector|ConnectionRefused|Name or service not known"
)


class RemoteError(ExplainedError):
    """Trouble with a remote file; `strerror` says which, with the remedy."""


class RemoteNotFoundError(RemoteError, FileNotFoundError):
    """What a URL names does not exist."""


class RemotePermissionError(RemoteError, PermissionError):
    """The credentials do not allow it, or there are none."""


def call(work: Callable[[], Result], name: str) -> Result:
    """Do something remote, four times at most where the other side is busy or fails.

    name: the URL without secrets. Raises `RemoteError`, `MissingExtraError`.
    """
    for left in reversed(range(TRIES)):
        try:
            return work()
        except ImportError as error:
            scheme = name.partition(":")[0]
            needs = "'cortexia-video[cloud]'" if scheme == "s3" else ""
            raise explain_import(error, f"{scheme}:// needs", needs) from error
        except Exception as error:
            if not left or not _may_pass(error):
                raise explain(error) from error
        time.sleep(_FIRST_PAUSE_S * 2 ** (TRIES - 1 - left) * random.uniform(0.5, 1))
    raise AssertionError("unreachable")


def explain(error: Exception) -> RemoteError:
    """Return a library's error in words. Nothing of its text is kept: it can hold URLs with signatures."""
    if isinstance(error, RemoteError):
        return error
    text = _describe(error)
    if _NO_BUCKET.search(text):
        return RemoteNotFoundError(errno.ENOENT, "no such bucket: check its name and region")
    if _NO_CREDENTIALS.search(text):
        return RemotePermissionError(
            errno.EACCES, "no credentials found: set the platform's usual ones, as AWS_PROFILE, or a role"
        )
    if _WRONG_CREDENTIALS.search(text):
        return RemotePermissionError(errno.EACCES, "the credentials are wrong or have expired: renew them")
    if isinstance(error, FileNotFoundError) or _status(error) == 404:
        return RemoteNotFoundError(errno.ENOENT, "not found: no such object or bucket; check the URL")
    if isinstance(error, PermissionError) or _status(error) in (401, 403):
        return RemotePermissionError(
            errno.EACCES, "no permission: give these credentials the right to list, read and write there"
        )
    if _NO_URL.search(text):
        return RemoteError(errno.EINVAL, "no bucket or URL is written like this: check the name")
    if _CANNOT_CONNECT.search(text):
        return RemoteError(errno.EHOSTUNREACH, "no server answers: check the URL and the network")
    tried = f"the server failed {TRIES} times" if _may_pass(error) else "the server refused"
    number = error.errno if isinstance(error, OSError) and error.errno else errno.EIO
    return RemoteError(number, f"{tried} ({type(error).__name__}): try again later")


def _may_pass(error: Exception) -> bool:
    """Return whether the same may work in a moment."""
    if isinstance(error, FileNotFoundError | PermissionError | ValueError | TypeError | RemoteError):
        return False
    status = _status(error)
    if status is not None:
        return status >= 500 or status in (408, 429)
    busy = isinstance(error, OSError) and (
        error.errno in _NOW_AND_THEN or type(error).__module__ != "builtins"
    )
    network = isinstance(error, TimeoutError | ConnectionError) or type(error).__module__.startswith(
        "aiohttp"
    )
    return busy or network or bool(_BUSY_WORDS.search(_describe(error)))


def _status(error: Exception) -> int | None:
    """Return the HTTP status of an error that has one."""
    status = getattr(error, "status", None)
    return status if isinstance(status, int) else None


def _describe(error: BaseException | None) -> str:
    """Return the names and words of an error and of what caused it, to look into, not to show."""
    words: list[str] = []
    while error is not None and len(words) < 8:
        words.append(f"{type(error).__name__}: {error}")
        error = error.__cause__ or error.__context__
    return "\n".join(words)
