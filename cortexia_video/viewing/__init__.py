"""Depth in the Rerun viewer: images, maps with values, points, a time line, several runs side by side.

The only owner of Rerun. Doors: `job`.
"""
