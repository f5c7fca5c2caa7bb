"""Networks that torch runs, and their export."""
