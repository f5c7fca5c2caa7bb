"""Self-contained pages: escaped elements, blocks, charts, views, wording.

Doors: `blocks`, `charts`, `markup`, `views`, `wording`.
"""
