"""What of a backend's error is shown."""

import pytest

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
