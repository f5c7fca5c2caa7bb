"""Self-contained pages: escaped elements, blocks, charts, wording; and what notebooks show.

Doors: `blocks`, `charts`, `markup`, `notebook`, `wording`.
"""
