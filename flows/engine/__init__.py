"""Walks a plan: who runs when, in which isolation, and how it ended; knows nothing of Prefect."""
