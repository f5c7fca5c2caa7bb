"""What became of every input, kept and found again: the log, its schema, its state, reading outputs by it."""
