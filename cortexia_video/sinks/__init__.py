"""Outputs put in place atomically: folders, object stores, archives.

Doors: `archives`, `depth_file`, `sink`.
"""
