"""Self-contained pages: escaped elements, blocks, charts, wording.

Doors: `blocks`, `charts`, `markup`, `wording`.
"""
