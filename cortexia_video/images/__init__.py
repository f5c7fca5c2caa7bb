"""Bytes to pixels: decoding, EXIF, resampling.

Doors: `decode`, `exif_focal_length`, `foreign_content`, `pixels`, `read`, `resampling`, `sniff`.
"""
