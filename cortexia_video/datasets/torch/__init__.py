"""Datasets as torch takes them: samples by number, endless mixed batches, tensors."""
