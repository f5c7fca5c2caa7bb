"""Where images come from: lazy streams with unique keys."""
