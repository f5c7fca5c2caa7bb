"""How a model is run: batches, batch sizes, the threaded executor, which backend.

Doors: `backend_selection`, `batches`, `clip_estimation`, `executor`, `maps`, `panorama`, `parity`.
"""
