"""One HTML page about an output folder.

Doors: `failures`, `job`.
"""
