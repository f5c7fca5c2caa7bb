"""What of a backend's error is shown, and how many images a backend sees at once."""

from typing import Any

import numpy as np
import pytest

from cortexia_video.models.onnx.model import load_compact
from cortexia_video.models.onnx.session import first_line


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
