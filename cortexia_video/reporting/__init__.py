"""A page for people about an output folder: what the ledger says and what the depth maps look like."""
