"""Retrieval: from a question to fused, permitted, best-first hits."""
