"""JSON and TOML that somebody wrote: one reader of each, which bounds what it takes and says what is wrong.

What comes out is nested at most `DEEPEST` deep, its whole numbers fit in 64 bits, and its texts can be names
of files: without zero bytes, and UTF-8, or what Python has for other bytes in names (U+DC80 to U+DCFF).
"""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from cortexia_video.errors import InputError, printable

LARGEST = 1 << 28  # bytes of a document; its values take some ten times as many
DEEPEST = 64
_LARGEST_WHOLE = 1 << 64
_DOUBTFUL = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")  # escapes of what may be no text

Pairs = Sequence[tuple[str, Any]]


def _refuse_constant(name: str) -> NoReturn:
    """Be the `parse_constant` of a decoder that takes no NaN and no Infinity."""
    raise ValueError(f"{name} is no number of JSON: write null for unknown values")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def parse_json(
    data: bytes | str, name: object, *, finite: bool = True, build: Callable[[Pairs], Any] | None = None
) -> Any:
    """Read a document of JSON.

    name: the file's, for messages. finite: refuse NaN and Infinity, which are no JSON but Python writes them.
    build: makes something else of the names and values of each object than a dict, in which no name may stand
    twice.
    Raises `InputError`, with name and line, for what is no JSON or has what is said above not to come out.
    """
    text = _decode(data, name)
    constant = _refuse_constant if finite else None
    try:
        value = json.loads(text, parse_constant=constant, object_pairs_hook=build or _build_dict)
    except json.JSONDecodeError as error:
        raise InputError(f"{name}, line {error.lineno}: not JSON: {error.msg}") from error
    except RecursionError as error:
        raise InputError(f"{name}: not read: values nested more than {DEEPEST} deep") from error
    except ValueError as error:
        raise InputError(f"{name}: not JSON: {_explain(error)}") from error
    return _require_plain(value, name, finite=finite)


def parse_toml(data: bytes | str, name: object) -> dict[str, Any]:
    """Read a document of TOML; raises `InputError` as `parse_json` does. Infinity is a number of TOML."""
    text = _decode(data, name).replace("\r\n", "\n")
    try:
        value = tomllib.loads(text)
    except RecursionError as error:
        raise InputError(f"{name}: not read: values nested more than {DEEPEST} deep") from error
    except ValueError as error:
        raise InputError(f"{name}: not TOML: {_explain(error)}") from error
    return _require_plain(value, name, finite=False)


def parse_object(line: bytes) -> dict[str, Any]:
    """Read a JSON object on a line; nothing where there is none."""
    try:
        text = line.decode().strip()
        entry, end = _decoder.raw_decode(text)  # without what json.loads adds, half the time
    except (ValueError, RecursionError):
        return {}
    # whether there may be what `_find_fault` looks for besides large numbers; in nearly none is
    may_be_odd = text.count("[") + text.count("{") > DEEPEST or ("\\u" in text and _DOUBTFUL.search(text))
    if end < len(text) or not isinstance(entry, dict) or (may_be_odd and _find_fault(entry)):
        return {}
    return entry


def _find_fault(value: object, *, finite: bool = False) -> str | None:
    """Return what of a document's values nothing here can use, if anything; without a call for each level."""
    level: list[Any] = [value]
    for _ in range(DEEPEST + 1):
        inside: list[Any] = []
        for each in level:
            if isinstance(each, str):
                fault = None if each.isascii() and "\0" not in each else _find_fault_of_text(each)
                if fault:
                    return fault
            elif isinstance(each, dict):
                inside += each
                inside += each.values()
            elif isinstance(each, list | tuple):
                inside += each
            elif type(each) is int and abs(each) >= _LARGEST_WHOLE:
                return "a number of more than 19 digits"
            elif finite and type(each) is float and not math.isfinite(each):
                return "a number too large for any use"
        level = inside
        if not level:
            return None
    return f"values nested more than {DEEPEST} deep"


def _decode(data: bytes | str, name: object) -> str:
    if len(data) > LARGEST:
        raise InputError(f"{name}: {len(data) / 1e6:.0f} MB are too many for it: is it the right file?")
    try:
        text = data if isinstance(data, str) else data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{name}: byte {error.start} is not UTF-8 text: save it as UTF-8") from error
    if "\0" in text:
        raise InputError(f"{name}: it holds zero bytes, as no text does: it is damaged, or not UTF-8")
    return text


def _require_plain(value: Any, name: object, *, finite: bool) -> Any:
    fault = _find_fault(value, finite=finite)
    if fault:
        raise InputError(f"{name}: not read: {fault}")
    return value


def _find_fault_of_text(text: str) -> str | None:
    if "\0" in text:
        return f"a text with a zero byte, '{printable(text)[:40]}'"
    try:
        text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return f"half a character in a text, '{printable(text)[:40]}'"
    return None


def _build_dict(pairs: Pairs) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = next(name for number, (name, _) in enumerate(pairs) if name in dict(pairs[:number]))
        raise ValueError(f"'{printable(twice)}' stands there twice: give it once")
    return values


def _explain(error: ValueError) -> str:
    """Return the words of an error; those of Python for too many digits speak to programmers."""
    return "a number of thousands of digits" if "integer string conversion" in str(error) else str(error)
