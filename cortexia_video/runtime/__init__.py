"""Threads, memory, clocks and the boundary around one input: what any parallel work needs, and nothing about depth.

Doors: `bounded_map`, `buffers`, `input_boundary`, `lazy_names`, `memory_budget`, `process_pool`,
`stage_clock`, `telemetry`, `throughput`, `torch_cache`, `workers`.
"""
