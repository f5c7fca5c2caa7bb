"""Where pictures come from: lazy streams with unique keys."""
