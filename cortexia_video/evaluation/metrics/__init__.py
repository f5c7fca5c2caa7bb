"""Metrics and alignments as functions of arrays; formula and source in each docstring."""
