"""Depth networks behind one protocol: the registry, `onnx/` and `torch/`.

Doors: `onnx.session`, `protocol`, `readiness`, `registry`, `synthetic`, `torch.export`, `torch.huggingface`.
"""
