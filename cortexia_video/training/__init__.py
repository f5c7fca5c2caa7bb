"""How the built-in network `compact` is made: scenes with depth, a network, a loop, an ONNX file.

`python -m cortexia_video.training --output compact.onnx` does all of it. Needs the extra `train`.
"""
