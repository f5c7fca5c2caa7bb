"""Self-contained pages: escaping elements, blocks, charts, wording. Shared by report and evaluation."""
