"""Point clouds: what a depth map and its picture show, as coloured points in space, and their files."""
