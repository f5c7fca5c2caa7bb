"""Fuzzing: every decoder and reader, given what somebody's disk, network or malice made of its files."""
