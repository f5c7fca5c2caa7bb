"""How a model is run: batches, batch sizes, the threaded executor, which backend."""
