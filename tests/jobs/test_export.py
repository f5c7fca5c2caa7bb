"""`export compact`: the file in the package, copied; what it cannot be told is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import cortexia_video as cx
from cortexia_video.errors import InputError, OutputExistsError

SHIPPED = Path(__file__).parents[2] / "cortexia_video/models/compact.onnx"


def test_compact_is_copied_once_and_loads_under_its_new_name(tmp_path: Path) -> None:
    path = tmp_path / "deep/mine.onnx"
    done = cx.export("compact", path)
    assert path.read_bytes() == SHIPPED.read_bytes()
    assert (done.path, done.size, done.bytes) == (path, None, SHIPPED.stat().st_size)
    assert cx.load_estimator(f"onnx:{path}").model.kind == "disparity"
    with pytest.raises(OutputExistsError, match=r"mine\.onnx"):
        cx.export("compact", path)


@pytest.mark.parametrize(
    "option", [{"size": (192, 256)}, {"backend": "openvino"}, {"precision": "float32"}, {"check": "photos"}]
)
def test_what_a_copy_cannot_be_told_is_refused(option: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="copied as it is, for images of any size"):
        cx.export("compact", tmp_path / "mine.onnx", **option)
    assert not [*tmp_path.iterdir()]
