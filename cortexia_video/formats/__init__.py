"""Depth files: `DepthMap` to bytes and back, no paths. One file and one row of the registry per format.

Doors: `conventions`, `decode_depth`, `exports`, `hdf5`, `maps`, `metadata`, `png16`, `npy`, `quantization`,
`raw_depth`, `registry`, `tiff`.
"""
