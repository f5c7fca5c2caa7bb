"""Where the processes that this one started listen, as Linux knows it."""

from __future__ import annotations

import socket
from pathlib import Path


def find_listening() -> set[str]:
    """Return `address:port` of each TCP socket that a process below this one listens on."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it ended
            continue
    own = {int(Path("/proc/self").resolve().name)}
    while more := {each for each, parent in parents.items() if parent in own} - own:
        own |= more
    sockets = {_read_link(link) for each in own for link in Path(f"/proc/{each}/fd").glob("*")}
    return {place for place, number in _list_listening() if f"socket:[{number}]" in sockets}


def _read_link(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _list_listening() -> list[tuple[str, str]]:
    found = []
    for name, family in (("tcp", socket.AF_INET), ("tcp6", socket.AF_INET6)):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            place, state, number = (line.split()[index] for index in (1, 3, 9))
            if state == "0A":
                found.append((_read_place(place, family), number))
    return found


def _read_place(text: str, family: socket.AddressFamily) -> str:
    address, port = text.split(":")
    words = [bytes.fromhex(address[start : start + 8])[::-1] for start in range(0, len(address), 8)]
    shown = socket.inet_ntop(family, b"".join(words)).removeprefix("::ffff:")
    return f"{shown}:{int(port, 16)}"
