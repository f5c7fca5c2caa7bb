"""Depth networks: what they are called, what their numbers mean, how they are run."""
