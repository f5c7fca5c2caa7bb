"""What happened to every input, kept and found again: the log, its schema, its state, depth read by it.

Doors: `artifacts`, `copied_log`, `depth_reader`, `entries`, `index`, `ledger`, `lines`,
`object_log`, `partition`, `state`.
"""
