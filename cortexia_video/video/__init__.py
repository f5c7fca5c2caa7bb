"""Videos: clips read frame by frame, depth kept as clips of 16 bits, and the filter that steadies it.

The only owner of PyAV. Doors: `clip_index`, `container`, `depth_clip`, `frames`, `image_sequence`, `lerobot`,
`optical_flow`, `preview`, `steady`, `windows`.
"""
