"""Threads, memory, clocks and the boundary around one input: what any parallel work needs, and nothing about depth.

Doors: `bounded_map`, `input_boundary`, `lazy_names`, `memory`, `process_pool`, `progress`, `telemetry`,
`throughput`, `torch_cache`, `trace`, `workers`.
"""
