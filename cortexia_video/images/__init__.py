"""Bytes to pixels: decoding, EXIF, resampling. Pure numpy and Pillow."""
