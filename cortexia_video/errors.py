"""The exception tree, an error as a value, and the one boundary around the work on one input, `attempt`.

CortexiaError
├── InputError          an input path that is missing, empty or cannot be listed
│   └── DepthFileError        a depth file that cannot be read, or does not say what its numbers mean
├── OutputError         an output folder that cannot be written, or is in use
│   ├── LossError             a conversion that loses what nobody said may be lost
│   ├── OutputExistsError     a file that is not this output's stands in the way
│   └── OutputLostError       the output became full or unwritable during a run: full disk, lost mount
├── DecodeError         bytes that are not an image we can read
├── MissingExtraError   a model, a format or a command needs a package that is not installed
├── TrainingError       a training that cannot go on: its loss is no number
└── ModelError
    ├── UnknownModelError     no such model name
    ├── ModelLoadError        weights that are missing, broken or do not say what they are
    ├── ModelOutputError      a network returned numbers that cannot be depth
    └── ParityError           a backend's depth differs too much from the reference's
"""

from __future__ import annotations

import logging
import math
import re
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache, wraps
from importlib import import_module
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from inspect import signature
from pathlib import Path
from types import FunctionType
from typing import Any, Literal, Self, TypeVar, get_args
from urllib.parse import unquote, urlsplit

__all__ = [
    "CortexiaError",
    "DecodeError",
    "DepthFileError",
    "Failure",
    "InputError",
    "LossError",
    "MissingExtraError",
    "ModelError",
    "ModelLoadError",
    "ModelOutputError",
    "OutputError",
    "OutputExistsError",
    "OutputLostError",
    "ParityError",
    "TrainingError",
    "UnknownModelError",
]


def __dir__() -> list[str]:
    return __all__


Stage = Literal["find", "decode", "estimate", "write"]

_Result = TypeVar("_Result")
_log = logging.getLogger(__name__)


class CortexiaError(Exception):
    """Base of every error this package raises on purpose; the message names the value and the remedy.

    Secrets of the URLs in it are left out.
    """

    def __init__(self, *arguments: object) -> None:
        super().__init__(*(redact(each) if isinstance(each, str) else each for each in arguments))


class InputError(CortexiaError):
    """An input path is missing, empty or cannot be listed."""


class DepthFileError(InputError):
    """A depth file cannot be read, or does not say what its numbers mean and nobody else did."""


class OutputError(CortexiaError):
    """An output folder cannot be written, or another process uses it."""


class LossError(OutputError):
    """A conversion would lose what nobody said may be lost."""


class OutputExistsError(OutputError):
    """A file that is not this output's stands where the output must go."""


class OutputLostError(OutputError):
    """The output became full or unwritable during a run: the disk is full, or the mount or a ledger is gone.

    path, reason: what cannot be written, and why. remedy: what to do.
    report: the results until then, a `Report`, where a run was under way.
    """

    report: object = None

    def __init__(self, path: object, error: Exception, remedy: str = "make room") -> None:
        self.path, self.remedy = path, remedy
        self.reason: str = getattr(error, "strerror", None) or str(error).partition("\n")[0]
        super().__init__(
            f"cannot write {path}: {self.reason}; what is done is kept: "
            f"{remedy} (or choose another `output`) and run the same command again"
        )

    def __reduce__(self) -> tuple[type[Self], tuple[object, Exception, str]]:
        """Let it travel from another process: by what it is made of, not by its message."""
        return type(self), (self.path, OSError(0, self.reason), self.remedy)


class DecodeError(CortexiaError):
    """Bytes are not an image that can be read."""


class MissingExtraError(CortexiaError):
    """A model, a format or a command needs a package that is not installed."""


def explain_import(error: ImportError, what: str, needs: str = "") -> MissingExtraError:
    """Return the error for an import that failed: a package is missing, or there and cannot be imported.

    The second, as of a torchvision that was built for another torch, shows its own cause: an installation
    of what is installed would change nothing.

    Args:
        error: As it was raised; transformers, for one, hides the cause behind others.
        what: What the package is for, as in "the format exr needs".
        needs: What to `pip install`; by default the package.
    """
    cause: BaseException = error
    while cause.__cause__ or (cause.__context__ and not cause.__suppress_context__):
        cause = cause.__cause__ or cause.__context__ or cause
    package = (getattr(cause, "name", None) or "").partition(".")[0]
    if isinstance(cause, ModuleNotFoundError) and package and find_spec(package) is None:
        return MissingExtraError(f"{what} {package}: {say_install(needs or package)}")
    for frame, _ in traceback.walk_tb(cause.__traceback__):  # the last module that was being imported
        if frame.f_code.co_name == "<module>":
            package = str(frame.f_globals.get("__name__", package)).partition(".")[0]
    reason = (str(cause).strip().splitlines() or [type(cause).__name__])[0]
    return MissingExtraError(
        f"{what} {package}, which is installed and cannot be imported ({reason}): install one that fits the "
        "other packages, or remove it where nothing needs it"
    )


def say_install(needs: str) -> str:
    """Return a command that installs packages here, "pip install 'cortexia-video[torch]'".

    Ours is named as it was installed, so that the line works for a clone, too; and by pipx or uv, where one of
    these made the environment. needs: as `explain_import` takes it.
    """
    ours = re.fullmatch(r"'cortexia-video(\[[\w,]+\])'", needs)
    if ours:
        needs = f"'{_find_source().format(ours[1])}'"
    made_by = {"pipx_metadata.json": "pipx install --force", "uv-receipt.toml": "uv tool install --force"}
    for mark, line in made_by.items():
        if ours and Path(sys.prefix, mark).exists():
            return f"{line} {needs}"
    return f"pip install {needs}" if find_spec("pip") else f"uv pip install {needs}"


@cache
def _find_source() -> str:
    """Return what `pip install` takes for this package, {} standing for extras: its name, or where it came from.

    Source: PEP 610, "Recording the Direct URL Origin of installed distributions".
    """
    try:
        parse_json = import_module(
            "cortexia_video.storage.documents"
        ).parse_json  # by name: it imports this file
        said = parse_json(
            distribution("cortexia-video").read_text("direct_url.json") or "{}", "direct_url.json"
        )
        url, vcs = said.get("url", ""), said.get("vcs_info", {}).get("vcs")
    except (PackageNotFoundError, CortexiaError, ValueError, AttributeError):
        return "cortexia-video{}"
    path = unquote(urlsplit(url).path)
    if vcs:
        return f"cortexia-video{{}} @ {vcs}+{url}"
    if url.startswith("file:") and Path(path).exists() and not set("'{}[]") & set(path):
        return f"{path}{{}}"
    return "cortexia-video{}"


class TrainingError(CortexiaError):
    """A training cannot go on: its loss is no number."""


class ModelError(CortexiaError):
    """Anything wrong with a model."""


class UnknownModelError(ModelError):
    """No model has this name."""


class ModelLoadError(ModelError):
    """Weights are missing, broken or do not say what they are."""


class ModelOutputError(ModelError):
    """A network returned numbers that cannot be depth."""


class ParityError(ModelError):
    """The depth of a backend or a precision differs too much from the reference's, or cannot be compared."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An image or a depth map that could not be made: it stands in its place, and flows on to the ledger.

    Attributes:
        key: The input's key.
        stage: Where it failed: find, decode, estimate or write.
        error: The exception, with its cause.

    Example:
        >>> failure = cx.Failure("a.jpg", "decode", cx.errors.DecodeError("cut short"))
        >>> print(failure)
        failed (decode): a.jpg: cut short
    """

    key: str
    stage: Stage
    error: Exception

    @property
    def reason(self) -> str:
        """One line for people: what went wrong."""
        return printable(describe(self.error))

    def __repr__(self) -> str:
        return f"Failure({self.key!r}, {self.stage}, {self.reason})"

    def __str__(self) -> str:
        reason, key = self.reason, printable(self.key)
        names_it = re.match(rf"(?:.*/)?{re.escape(key)}(?:\.[^/: ]*)?(?:: | is )", reason)
        return f"failed ({self.stage}): {reason}" if names_it else f"failed ({self.stage}): {key}: {reason}"


_OF_PROGRAMS = (LookupError, TypeError, AttributeError, NameError, AssertionError, ArithmeticError)


class ExplainedError(OSError):
    """An error of the system's kind whose `strerror` is ours, and says what to do."""


def describe(error: BaseException) -> str:
    """Return in one line for people what an error is, without the names that only programmers know."""
    words = " ".join(str(getattr(error, "strerror", None) or error).split())
    if isinstance(error, MemoryError):
        return "there is not enough memory for it: free some, or use fewer workers"
    if isinstance(error, RecursionError):
        return "it is nested too deeply to be read"
    if isinstance(error, ValueError) and "null byte" in words:
        return "the name has a zero byte"
    if isinstance(error, UnicodeEncodeError):
        return "a name in it is not UTF-8: rename the file"
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8 text: save it as such"
    if isinstance(error, _OF_PROGRAMS) or not words:
        told = f"{type(error).__name__}: {words}" if words else type(error).__name__
        return f"unexpected content ({told}): is the file whole? If it is, please report this"
    return words


def propose(word: str, known: Iterable[str]) -> str:
    """Return `did you mean kitti? ` for a word that is nearly one of those that are known, else ""."""
    by_lower = {each.lower(): each for each in known}
    near = get_close_matches(word.lower(), by_lower, n=1)
    return f"did you mean {by_lower[near[0]]}? " if near else ""


def not_known(what: str, word: str, known: Iterable[str]) -> str:
    """Return the message for a word that is none of those that are known, which it names."""
    known = [*known]
    return f"unknown {what} {word!r}: {propose(word, known)}use one of {', '.join(known)}"


def format_count(count: int, one: str, many: str = "") -> str:
    """Return `1 image` or `1,204 images`; `many` where an s is not enough, as for `value is`."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def printable(text: str) -> str:
    """Make text safe to print on one line: no secrets; control characters and what is not UTF-8 escaped."""
    text = redact(text)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


# One slash is what `pathlib` leaves of two. A secret of S3 can hold slashes: what follows a colon is no port.
_USER = re.compile(
    r"""(?<![a-z0-9+.-])([a-z][a-z0-9+.-]+:/+)(?: [^\s/?#"<>]*@ | [^\s/?#@:"<>]+:(?!\d+/)[^\s?#@"<>]*@ )""",
    re.IGNORECASE | re.VERBOSE,
)
_WEB_QUERY = re.compile(r"""(https?:/+[^\s?#"<>]*)\?[^\s"<>]*?(?=['")\],.:;]*(?:[\s"<>]|$))""", re.IGNORECASE)
_SECRET_WORD = re.compile(
    r"""([?&;][\w.%-]*(?:sig|token|secret|passw|pwd|credential|access[-_]?key|api[-_]?key|auth)[\w.%-]*=)
        [^\s&;#"'<>/]+(?:/[a-z0-9+/]*=)?""",
    re.IGNORECASE | re.VERBOSE,
)


def redact(text: str) -> str:
    """Leave out of the URLs in a text what can be secret: user and password, the web's queries, signatures.

    Every text that leaves this process goes through it: by `CortexiaError`, `printable`, or `str()` of a
    `RemotePath`.
    """
    may_hold = ":/" in text and ("@" in text or "?" in text)  # seldom: of each of a million keys it is asked
    text = _WEB_QUERY.sub(r"\1", _USER.sub(r"\1", text)) if may_hold else text
    return _SECRET_WORD.sub(r"\1***", text) if "=" in text else text


@contextmanager
def in_words(
    beginning: str,
    remedy: str = "",
    kind: type[CortexiaError] = InputError,
    of: type[Exception] | tuple[type[Exception], ...] = Exception,
) -> Iterator[None]:
    """Make one error, "beginning: what is wrong; remedy", of whatever a reader raises; ours go through.

    of: what is caught; `OSError` where only the system's errors can be expected.
    """
    try:
        yield
    except CortexiaError:
        raise
    except of as error:
        raise put_in_words(error, beginning, remedy, kind) from error


def put_in_words(
    error: Exception, beginning: str, remedy: str = "", kind: type[CortexiaError] = InputError
) -> CortexiaError:
    """Return what `in_words` raises, for the few guards that every image passes."""
    has_remedy = not remedy or isinstance(error, ExplainedError)
    words = describe(error) if has_remedy else f"{describe(error)}; {remedy}"
    return kind(printable(f"{beginning}: {words}"))


def require_type(name: str, value: object, wanted: type, remedy: str) -> None:
    """Raise `TypeError` where an argument is of another type, with what to do about it."""
    if not isinstance(value, wanted):
        raise TypeError(f"{name} must be of type {wanted.__name__}, got {type(value).__name__}: {remedy}")


def require_one_of(**given: tuple[object, object]) -> None:
    """Raise `InputError` where an argument is none of the words of its `Literal`: `sky=(sky, Sky)`."""
    for name, (value, choices) in given.items():
        if value not in get_args(choices):
            raise InputError(f"`{name}` must be one of {', '.join(get_args(choices))}, got {value!r}")


def require_at_least_1(**given: int) -> None:
    """Raise `InputError` where an argument that counts something is below 1."""
    for name, value in given.items():
        if value < 1:
            raise InputError(f"`{name}` must be at least 1, got {value}")


def require_positive(*, most: float = math.inf, **given: float) -> None:
    """Raise `InputError` where an argument is not above 0, or is above `most`."""
    for name, value in given.items():
        if not 0 < value <= most:
            bound = f"at most {most:g}" if value > most else "above 0"
            raise InputError(f"`{name}` must be {bound}, got {value}")


_CLOSE = 0.75  # how alike a keyword and the one that was meant are


@cache
def suggest_keywords(called: Any) -> Any:
    """Let a public function or class say which keyword was meant where a call misspells one.

    Python does so itself from 3.13 on, but not of options that are passed on, as `estimate` does to the model.
    Done at the doors where people take a name (`runtime.lazy_names`): the package itself calls without it. A class
    stays the one that it is; errors, protocols, and what has no `__init__` of its own, go through.
    """
    is_class = type(called) is type and "__init__" in vars(called) and not issubclass(called, Exception)
    if not is_class and not isinstance(called, FunctionType):
        return called
    function = called.__init__ if is_class else called

    @wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        try:
            return function(*arguments, **options)
        except (TypeError, CortexiaError) as error:
            known = [*signature(called).parameters]
            for name in options:
                meant = [] if name in known else get_close_matches(name, known, 1, _CLOSE)
                if meant and re.search(rf"\b{name}\b", str(error)):
                    raise TypeError(
                        f"{called.__name__}() got an unexpected keyword argument {name!r}. "
                        f"Did you mean {meant[0]!r}?"
                    ) from None
            raise

    if not is_class:
        return call
    called.__init__ = call
    return called


@contextmanager
def output_lost(path: object) -> Iterator[None]:
    """Make `OutputLostError` of what the system says while `path` is written."""
    try:
        yield
    except OSError as error:
        raise OutputLostError(path, error) from error


def attempt(key: str, stage: Stage, work: Callable[[], _Result]) -> _Result | Failure:
    """Do the work on one input; return what comes of it, or the `Failure` that it ended in.

    An input is made by anybody, and read by libraries that raise anything on what is broken; so no list of
    exceptions is ever complete. What ends a run goes through: `OutputLostError`, and what is no `Exception`, as
    Ctrl-C. `MemoryError` and `RecursionError` are the input's.
    """
    try:
        return work()
    except Exception as error:  # noqa: BLE001 - the boundary
        return as_failure(key, stage, error)


def attempt_all(
    key: str, stage: Stage, items: Iterable[_Result] | Callable[[], Iterable[_Result]]
) -> Iterator[_Result | Failure]:
    """Yield what a generator gives, or what makes one; where it breaks off, at last the `Failure` it ended in."""
    try:
        yield from items() if callable(items) else items
    except Exception as error:  # noqa: BLE001 - the boundary
        yield as_failure(key, stage, error)


def as_failure(key: str, stage: Stage, error: Exception) -> Failure:
    """Return what `attempt` does of an error, for the two guards that every image passes; raise what ends a run."""
    if isinstance(error, OutputLostError):
        raise error
    if not isinstance(error, CortexiaError):
        _log.debug("%s failed", printable(key), exc_info=error)
    return Failure(key, stage, error)
