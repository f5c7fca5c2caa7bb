"""Where things lie: on a disk, or behind an address as `s3://bucket/key`."""
