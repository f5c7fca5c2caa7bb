"""`read_image`: a frame from a file, and the errors of `estimate`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import cortexia_video as cx


def test_a_file_becomes_a_frame_under_its_name(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    path = make_image(tmp_path / "trip/a.jpg")
    frame = cx.read_image(path)
    assert frame.key == "a.jpg"
    assert (frame.image == cx.decode(path.read_bytes(), "a.jpg").image).all()


def test_what_is_missing_or_no_image_is_named(tmp_path: Path, make_image: Callable[..., Path]) -> None:
    (tmp_path / "b.jpg").write_text("no image")
    with pytest.raises(cx.errors.InputError, match=r"no such file: .*none\.jpg"):
        cx.read_image(tmp_path / "none.jpg")
    with pytest.raises(cx.errors.InputError, match="no such file: memory://nothing/a.jpg"):
        cx.read_image("memory://nothing/a.jpg")
    with pytest.raises(cx.errors.DecodeError, match=r"b\.jpg: not an image: the content is plain text"):
        cx.read_image(tmp_path / "b.jpg")
    with pytest.raises(cx.errors.DecodeError, match=r"a\.jpg: too large: .* the limit is 0\.0001"):
        cx.read_image(make_image(tmp_path / "a.jpg"), max_megapixels=0.0001)
