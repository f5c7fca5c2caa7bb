"""Text in a CSV is never a formula, and is read back as it was."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cortexia_video.geometry.intrinsics import load_intrinsics
from cortexia_video.storage.spreadsheet import read_text, write_rows, write_text


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "a\tb", "＝1+1", "'=1", "a\x1bb"]
)
def test_what_a_spreadsheet_would_run_gets_a_quote(text: str) -> None:
    assert write_text(text) == f"'{text}"
    assert read_text(f"'{text}") == text


@pytest.mark.parametrize("text", ["", "a.jpg", "trip/a=b.jpg", "'a.jpg", "a-b@c+d"])
def test_other_text_stays(text: str) -> None:
    assert write_text(text) == read_text(text) == text


@given(st.text(alphabet="'=-@+\t\r\na\x00b"))
def test_what_is_written_is_read_back(text: str) -> None:
    assert read_text(write_text(text)) == text


def test_numbers_stay_numbers() -> None:
    file = io.StringIO()
    write_rows(file, [("=a.jpg", -0.5, -3, ""), ("b,\r\n.jpg", 1e-9, 0, "-")])
    assert file.getvalue() == "'=a.jpg,-0.5,-3,\n\"'b,\r\n.jpg\",1e-09,0,'-\n"


def test_keys_copied_from_our_tables_are_those_of_the_files(tmp_path: Path) -> None:
    (tmp_path / "f.csv").write_text("key,f_px\n'=a.jpg,50\n-b.jpg,60\n'c.jpg,70\n")
    found = load_intrinsics(path=tmp_path / "f.csv")
    assert [found.find(key, 64, 48) for key in ("=a.jpg", "-b.jpg", "'c.jpg")] == [50, 60, 70]
