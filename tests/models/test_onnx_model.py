"""What of a backend's error is shown, and how many images a backend sees at once."""

import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cortexia_video.models.onnx.model import load_compact, load_onnx
from cortexia_video.models.onnx.session import first_line
from cortexia_video.models.registry import COMPACT_FILE


@pytest.mark.parametrize(
    ("error", "shown"),
    [
        (
            "Exception from src/inference/src/cpp/core.cpp:84:\nCheck 'false' failed at src/ops_report.cpp:151:\n"
            "FrontEnd API failed with OpConversionFailure:\nModel wasn't fully converted.\nSummary:\n"
            "-- No conversion rule found for operations: my.ops.Nonsense\n\n",
            "No conversion rule found for operations: my.ops.Nonsense",
        ),
        ("[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Protobuf parsing failed.", "Protobuf parsing failed."),
        ("", "ValueError"),
    ],
)
def test_an_error_is_shown_without_what_is_for_developers(error: str, shown: str) -> None:
    assert first_line(ValueError(error)) == shown


def test_openvino_sees_large_images_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """More bring no speed there, and each takes 30 MB of compact."""
    pytest.importorskip("openvino")
    model, seen = load_compact("compact", backend="openvino", precision="float32"), []
    run = model._session.run

    def run_and_count(outputs: Any, inputs: Any) -> Any:
        seen.append(len(next(iter(inputs.values()))))
        return run(outputs, inputs)

    monkeypatch.setattr(model._session, "run", run_and_count)
    for sides, expected in (((224, 320), [1, 1, 1]), ((64, 96), [3])):
        batch = np.random.default_rng(0).random((3, 3, *sides), np.float32)
        values = model.infer(batch)
        assert seen == expected
        seen.clear()
        alone = [model.infer(batch[number : number + 1]) for number in range(3)]
        np.testing.assert_allclose(np.concatenate(alone), values, rtol=1e-4, atol=1e-4)
        seen.clear()


def test_images_of_a_batch_run_side_by_side_on_a_thread_each(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("model", "session"):
        monkeypatch.setattr(f"cortexia_video.models.onnx.{module}.count_cores", lambda: 2)
    model = load_compact("compact")
    batch = np.random.default_rng(0).random((4, 3, 64, 96), np.float32)
    alone = [model.infer(batch[number : number + 1]) for number in range(4)]
    single = model._session.on_one_thread
    assert single is not None and single.on_one_thread is None
    run, both = single.run, threading.Barrier(2)

    def run_beside_another(outputs: Any, inputs: Any) -> Any:
        both.wait(60)
        return run(outputs, inputs)

    monkeypatch.setattr(single, "run", run_beside_another)
    np.testing.assert_array_equal(model.infer(batch), np.concatenate(alone))


@pytest.mark.parametrize("beside", (False, True))
def test_a_large_graph_is_not_loaded_twice(
    beside: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(COMPACT_FILE, tmp_path / "compact.onnx"))
    if beside:  # as exporters write weights of a file's own
        (tmp_path / "compact.onnx.data").write_bytes(bytes(path.stat().st_size + (1 << 20)))
    monkeypatch.setattr("cortexia_video.models.onnx.session._SMALL", path.stat().st_size - 1 + 2 * beside)
    model = load_onnx(f"onnx:{path}")
    assert model._session.on_one_thread is None
    assert model.infer(np.zeros((2, 3, 64, 96), np.float32)).shape == (2, 64, 96)
