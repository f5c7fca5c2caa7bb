"""What chance does to a file: the same seed, the same bytes.

An input is a folder's files by name; a reader of one file has a folder with one. Text changes by its tokens,
so that it gets past the parser; packed files (PNG, zip, tar) inside, so that they get past their checksums.
"""

from __future__ import annotations

import io
import random
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

Tree = Mapping[str, bytes]  # the files of a folder by their names in it

OUTSIDE = "../outside-of-it"  # a file beside the folder of a case: no reader may open it
_TEXT = (".json", ".jsonl", ".toml", ".csv", ".txt", ".md")
_LARGEST = 1 << 20  # bytes that a file may grow to
_LONGEST_TEXT = 1 << 14  # bytes of a text that are looked at
_BEGINNING = 256  # bytes, where headers are

_WIDTHS = (1, 2, 4, 8)
_NUMBERS = sorted(
    {
        0,
        1,
        *(
            sign * (1 << bits) + step
            for bits in (7, 8, 15, 16, 31, 32, 63)
            for step in (-1, 0, 1)
            for sign in (1, -1)
        ),
    }
)
_TOKEN = re.compile(rb'"(?:[^"\\\n]|\\.)*"|[-+]?\d[\d.eE+-]*|[A-Za-z_]\w*|[^\s\w]')
_VALUES = (
    *(str(number).encode() for number in _NUMBERS),
    *b"null true false NaN Infinity -Infinity nan inf 1e999 -1e999 1e-999 0.0 -0.0 1e308 0x10 1_0".split(),
    *(b"[]", b"{}", b'""', b"[[]]", b'{"a": 1}', b"[1, 2]", b"1.5", b"-1.5", b"''", b"2020-01-01"),
    *(
        b'"\\u0000"',
        b'"a\\u0000b"',
        b'"\\ud800"',
        b'"\\udc80"',
        b'"\\n"',
        b'"\\u202e"',
        b'"=1+1"',
        b'" "',
        b"\xff",
    ),
    *(b'".."', b'"."', b'"/"', b'"/dev/null"', b'"a/b"', b'"nan"', b'"inf"', b'"-1"', b'"1e999"'),
    f'"{OUTSIDE}"'.encode(),
    b"9" * 5000,
    b"0." + b"3" * 5000,
    b'"' + b"long" * 2000 + b'"',
)
_DEEP = (b"[", b'{"a":', b"[{", b"{")


def mutate(trees: Sequence[Tree], chance: random.Random) -> dict[str, bytes]:
    """Return one of the trees with something wrong in it."""
    tree = dict(chance.choice(trees))
    for _ in range(chance.choice((1, 1, 1, 1, 2))):
        name = chance.choice(sorted(tree))
        if len(tree) > 1 and chance.random() < 0.1:
            _change_files(tree, name, chance)
            if not tree:
                break
            continue
        others = [other[each] for other in trees for each in other if _suffix(each) == _suffix(name)]
        tree[name] = _change(name, tree[name], others, chance)[:_LARGEST]
    return tree


def _change_files(tree: dict[str, bytes], name: str, chance: random.Random) -> None:
    """Lose a file, empty it, or give it the content of another."""
    kind = chance.randrange(3)
    if kind == 0:
        del tree[name]
    else:
        tree[name] = b"" if kind == 1 else tree[chance.choice(sorted(tree))]


def _change(name: str, data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    """Change a file's bytes a few times, by what its name says of it."""
    repack = _REPACK.get(_suffix(name))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        if _suffix(name) in _TEXT and chance.random() < 0.8:
            data = chance.choice(_OF_TEXT)(data, chance)
        elif repack and chance.random() < 0.7:
            with suppress(Exception):  # of what is damaged already
                data = repack(data, lambda inner: _change_bytes(inner, others, chance), chance)
        else:
            data = _change_bytes(data, others, chance)
    return data


def _suffix(name: str) -> str:
    return name[name.rfind(".") :].lower() if "." in name else ""


# ---- bytes -------------------------------------------------------------------------------------------------


def _change_bytes(data: bytes, others: Sequence[bytes], chance: random.Random) -> bytes:
    if others and chance.random() < 0.1:
        return _splice(data, chance.choice(others), chance)
    return chance.choice(_OF_BYTES)(data, chance)


def _place(data: bytes, chance: random.Random) -> int:
    """Choose where: half of the time among the first bytes."""
    end = len(data) if chance.random() < 0.5 else min(len(data), _BEGINNING)
    return chance.randrange(end + 1)


def _flip_bit(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + bytes(each ^ 1 << chance.randrange(8) for each in data[at : at + 1]) + data[at + 1 :]


def _set_bytes(data: bytes, chance: random.Random) -> bytes:
    at, count = _place(data, chance), chance.choice((1, 1, 2, 4, 16))
    run = chance.choice((b"\0", b"\xff", b"\x7f", b"\x80", chance.randbytes(1))) * count
    return data[:at] + run + data[at + count :]


def _set_number(data: bytes, chance: random.Random) -> bytes:
    """Put a number of a boundary where one may be."""
    at, width, order = _place(data, chance), chance.choice(_WIDTHS), chance.choice("<>")
    number = chance.choice(_NUMBERS) & ((1 << 8 * width) - 1)
    return (
        data[:at] + struct.pack(order + {1: "B", 2: "H", 4: "I", 8: "Q"}[width], number) + data[at + width :]
    )


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: _place(data, chance)]


def _insert(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + chance.choice((chance.randbytes(4), b"\0" * 64, data[at : at + 64])) + data[at:]


def _remove(data: bytes, chance: random.Random) -> bytes:
    at = _place(data, chance)
    return data[:at] + data[at + chance.choice((1, 2, 4, 32, 512)) :]


def _splice(data: bytes, other: bytes, chance: random.Random) -> bytes:
    """Join the beginning of a file and the end of another of its kind."""
    return data[: _place(data, chance)] + other[_place(other, chance) :]


_OF_BYTES = (_flip_bit, _flip_bit, _set_bytes, _set_number, _set_number, _cut, _insert, _remove)


# ---- text --------------------------------------------------------------------------------------------------


def _find_tokens(data: bytes) -> list[re.Match[bytes]]:
    return [*_TOKEN.finditer(data[:_LONGEST_TEXT])]


def _replace_token(data: bytes, chance: random.Random) -> bytes:
    found = _find_tokens(data)
    if not found:
        return chance.choice(_VALUES)
    match = chance.choice(found)
    other = chance.choice((chance.choice(_VALUES), chance.choice(_VALUES), chance.choice(found)[0]))
    return data[: match.start()] + other + data[match.end() :]


def _drop_token(data: bytes, chance: random.Random) -> bytes:
    found = _find_tokens(data)
    match = chance.choice(found) if found else None
    return data[: match.start()] + data[match.end() :] if match else data


def _change_lines(data: bytes, chance: random.Random) -> bytes:
    """Lose a line, or have it twice, or put it elsewhere."""
    lines = data.splitlines(keepends=True) or [b""]
    line = lines.pop(chance.randrange(len(lines)))
    for _ in range(chance.choice((0, 1, 2))):
        lines.insert(chance.randrange(len(lines) + 1), line)
    return b"".join(lines)


def _nest(data: bytes, chance: random.Random) -> bytes:
    found = _find_tokens(data)
    at = chance.choice(found).start() if found else 0
    return data[:at] + chance.choice(_DEEP) * chance.choice((10, 1000, 100_000)) + data[at:]


def _mark(data: bytes, chance: random.Random) -> bytes:
    """Save it as other programs do: with a byte order mark, other ends of lines, another encoding."""
    changes: tuple[Callable[[], bytes], ...] = (
        lambda: b"\xef\xbb\xbf" + data,
        lambda: data.replace(b"\n", b"\r\n"),
        lambda: data.replace(b"\n", b"\r"),
        lambda: data.decode("latin-1").encode("utf-16"),
        lambda: data.replace(b",", b";"),
    )
    return chance.choice(changes)()


_OF_TEXT = (*3 * (_replace_token,), _drop_token, _change_lines, _nest, _mark)


# ---- what has checksums ------------------------------------------------------------------------------------

_Inner = Callable[[bytes], bytes]


def _repack_png(data: bytes, change: _Inner, chance: random.Random) -> bytes:
    """Change a chunk, of pixels perhaps what is packed in it, and say its length and checksum anew."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (size,) = struct.unpack_from(">I", data, at)
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    which = chance.randrange(len(chunks))
    name, content = chunks[which]
    if name == b"IDAT" and chance.random() < 0.7:
        content = zlib.compress(change(zlib.decompress(content)), 1)
    else:
        content = change(content)
    chunks[which] = name, content
    packed = (
        struct.pack(">I", len(inner)) + name + inner + struct.pack(">I", zlib.crc32(name + inner))
        for name, inner in chunks
    )
    return data[:8] + b"".join(packed)


def _repack_zip(data: bytes, change: _Inner, chance: random.Random) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    changed, file = chance.choice(sorted(members)), io.BytesIO()
    with zipfile.ZipFile(file, "w", chance.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members.items():
            archive.writestr(zipfile.ZipInfo(name), change(content) if name == changed else content)
    return file.getvalue()


def _repack_tar(data: bytes, change: _Inner, chance: random.Random) -> bytes:
    """Change a member, as a text if it is one, or a header, whose checksum is said anew."""
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        found = [(member, archive.extractfile(member)) for member in archive]
        members = [(member, file.read() if file else b"") for member, file in found]
    which, file = chance.randrange(len(members)), io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for number, (member, content) in enumerate(members):
            if number == which:
                content = _change(member.name, content, (), chance)
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    if chance.random() < 0.7:
        return file.getvalue()
    header = bytearray(change(file.getvalue()[:512])[:512].ljust(512, b"\0"))
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + file.getvalue()[512:]


_REPACK = {".png": _repack_png, ".npz": _repack_zip, ".tar": _repack_tar}
