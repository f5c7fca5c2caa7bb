"""Inputs found lazily, each under a unique key: files, objects, archives, depth files.

Doors: `depth_files`, `find`, `inputs`, `sequences`.
"""
