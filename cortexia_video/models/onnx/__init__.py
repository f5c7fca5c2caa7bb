"""Networks in ONNX files, run by ONNX Runtime or OpenVINO."""
