"""Self-contained pages: escaped elements, blocks, charts, views, wording; and what notebooks show.

Doors: `blocks`, `charts`, `markup`, `notebook`, `views`, `wording`.
"""
