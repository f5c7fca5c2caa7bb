"""Threads, memory, clocks: what any parallel work needs, and nothing about depth.

Doors: `bounded_map`, `lazy_names`, `process_pool`, `progress`, `resources`, `telemetry`, `torch_cache`, `trace`.
"""
