"""`--commercial-only` stands alone or is strict."""

from __future__ import annotations

from pathlib import Path

import pytest

from cortexia_video.cli import main
from cortexia_video.errors import ModelLoadError
from cortexia_video.models.registry import require_commercial


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--commercial-only", "compact"], 0, ""),
        (["compact", "--commercial-only"], 0, ""),
        (["compact", "--commercial-only=strict"], 2, "(strict --commercial-only)"),
        (["compact", "--commercial-only=lax"], 2, "--commercial-only is strict, or stands alone, got 'lax'"),
    ],
)
def test_the_option_stands_alone_or_is_strict(
    words: list[str], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["export", *words, "--output", str(tmp_path / "compact.onnx")])
    error = capsys.readouterr().err
    assert ended.value.code == code and said in error
    assert len(error.splitlines()) == (code > 0)
    assert (tmp_path / "compact.onnx").exists() == (code == 0)


def test_strict_asks_what_weights_were_trained_from() -> None:
    require_commercial("synthetic", strict=True)
    for name in ("compact", "zoedepth", "da3-metric-large"):
        require_commercial(name)
        with pytest.raises(ModelLoadError, match=r"strict `commercial_only`\): what it was trained from"):
            require_commercial(name, strict=True)
