"""`train`: what the command does, for Python; without torch it says what to install."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import cortexia_video as cx
from cortexia_video.errors import MissingExtraError


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "cortexia_video.training.job", raising=False)
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"training needs torch.*install '.*\[train\]'"):
        cx.train(tmp_path / "recipe.toml", tmp_path / "out")
