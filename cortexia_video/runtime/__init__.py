"""Threads, memory, locks and clocks: what any parallel work needs, and nothing about depth."""
