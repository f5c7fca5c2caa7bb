"""Depth files: `DepthMap` to bytes, no paths. One file and one row of the table per format."""
