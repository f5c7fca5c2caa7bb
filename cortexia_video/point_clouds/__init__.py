"""Point clouds: what a depth map and its image show, as coloured points in space, and their files."""
