"""Local paths and object stores behind one set of methods; atomic files; the one way to open what is named.

Doors: `archive_member`, `archive_writers`, `arrow`, `atomic_file`, `documents`, `listing`,
`own_folder`, `paths`, `remote_path`, `retries`, `row_groups`, `spreadsheet`, `staging_folder`, `system`,
`user_cache`.
"""
