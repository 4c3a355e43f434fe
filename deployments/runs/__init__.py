"""A run from its request to its record: parameters, wiring, running, resuming."""
