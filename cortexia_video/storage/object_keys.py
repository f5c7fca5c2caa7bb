"""Which keys of objects can name a file."""

from __future__ import annotations


def find_problem(key: str) -> str | None:
    """Return why a key cannot name an output, if that is so."""
    if {"..", ".", ""} & {*key.split("/")}:
        return "has a part that leads elsewhere ('..', '.' or nothing)"
    try:
        key.encode()
    except UnicodeEncodeError:
        return "is not UTF-8"
    return "has a zero byte" if "\0" in key else None
