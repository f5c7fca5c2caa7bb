"""How the built-in network `compact` is made: pictures with depth from `scenes`, a network, a loop, an ONNX file.

`python -m cortexia_video.training --output compact.onnx` does all of it. Needs the extra `train`.
"""
