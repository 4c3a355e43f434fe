"""The index in the memory of a process."""
