"""The one reader of JSON and the one of TOML: what they take, and what they say of all else."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from cortexia_video.errors import InputError
from cortexia_video.storage.documents import parse_json, parse_object, parse_toml

PACKAGE = Path(__file__).parents[2] / "cortexia_video"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b'{"a": 1,\n}', ": not JSON"),
        (b"", "line 1: not JSON"),
        (b'{"a": 1, "a": 2}', "'a' stands there twice: give it once"),
        (b"[NaN]", "NaN is no number of JSON: write null"),
        (b"[-Infinity]", "-Infinity is no number of JSON"),
        (b"[1e999]", "a number too large"),
        (b"[1" + b"0" * 30 + b"]", "a number of more than 19 digits"),
        (b"[1" + b"0" * 5000 + b"]", "a number of thousands of digits"),
        (b"[" * 100_000, "nested more than 64 deep"),
        (b"[" * 66 + b"]" * 66, "nested more than 64 deep"),
        (b'{"a": "\\u0000"}', "a text with a zero byte"),
        (b'["\\ud83d"]', "half a character in a text"),
        (b'{"\\udc7f": 1}', "half a character in a text"),
        (b'{"a": "\0"}', "it holds zero bytes"),
        ('{"a": 1}'.encode("utf-16"), "byte 0 is not UTF-8 text: save it as UTF-8"),
    ],
)
def test_json_that_nothing_can_use_is_refused_with_its_name(text: bytes, told: str) -> None:
    with pytest.raises(InputError, match="^a.json") as caught:
        parse_json(text, "a.json")
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (b"a = 1\na = 2", "not TOML: Cannot overwrite a value"),
        (b"a = ", "not TOML: Invalid value"),
        (b"a = " + b"[" * 100_000, "nested more than 64 deep"),
        (b"a = " + b"1" * 5000, "a number of thousands of digits"),
        (b"a = 1" + b"0" * 30, "a number of more than 19 digits"),
        (b'a = "\\u0000"', "a text with a zero byte"),
        (b'a = "\xff"', "byte 5 is not UTF-8 text"),
    ],
)
def test_toml_that_nothing_can_use_is_refused_with_its_name(text: bytes, told: str) -> None:
    with pytest.raises(InputError, match="^a.toml") as caught:
        parse_toml(text, "a.toml")
    assert told in str(caught.value)


def test_what_is_sound_comes_through() -> None:
    assert parse_json(
        b'\xef\xbb\xbf{"a": ["\\ud83d\\ude00", "\\udcff", 18446744073709551615, null]}', "a"
    ) == {"a": ["\U0001f600", "\udcff", 2**64 - 1, None]}
    assert parse_json(b"[" * 65 + b"]" * 65, "a") is not None
    assert parse_json("[Infinity]", "a", finite=False) == [float("inf")]
    assert parse_json('{"a": 1, "a": 2}', "a", build=list) == [("a", 1), ("a", 2)]
    assert parse_toml(b"a = inf\r\n[b]\r\nc = 'd'", "a") == {"a": float("inf"), "b": {"c": "d"}}


@pytest.mark.parametrize(
    "line",
    [
        b'{"key": "a", "x": ' + b"[" * 100_000,
        b'{"key": "a", "x": ' + b"[" * 70 + b"]" * 70 + b"}",
        b'{"key": "a\\u0000"}',
        b'{"key": "a\\ud800"}',
        b'{"key": "a", "x": NaN}',
        b'{"key": "a", "x": ' + b"1" * 5000 + b"}",
        b'{"key": "a\xff"}',
    ],
)
def test_a_line_of_a_ledger_gets_the_same_care(line: bytes) -> None:
    assert parse_object(line) == {}
    assert parse_object(json.dumps({"key": "日本\U0001f600\udcff"}).encode()) == {
        "key": "日本\U0001f600\udcff"
    }


def test_nobody_else_reads_json_or_toml() -> None:
    for path in PACKAGE.rglob("*.py"):
        if path.name != "documents.py":
            tree = ast.walk(ast.parse(path.read_text()))
            read = [
                node
                for node in tree
                if (isinstance(node, ast.Attribute) and ast.unparse(node) in ("json.load", "json.loads"))
                or (isinstance(node, ast.Import) and any(each.name == "tomllib" for each in node.names))
            ]
            assert not read, f"{path} has a reader of its own: use cortexia_video.storage.documents"
