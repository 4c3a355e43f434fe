"""What a run holds: the context, copy-on-write views of it, what branches changed, and the merge."""
