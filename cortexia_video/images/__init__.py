"""Bytes to pixels: decoding, EXIF, resampling.

Doors: `decode`, `exif`, `foreign_content`, `pixels`, `resampling`, `sniff`.
"""
