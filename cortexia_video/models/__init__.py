"""Depth networks behind one protocol: the registry, `onnx/` and `torch/`.

Doors: `onnx.session`, `protocol`, `registry`, `synthetic`, `torch.export`, `torch.huggingface`.
"""
