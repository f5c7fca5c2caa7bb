"""One job on many machines, by Ray Data."""
