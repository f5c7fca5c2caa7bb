"""Images with depth: datasets as other people lay them out, as Hugging Face has them, and our own."""
