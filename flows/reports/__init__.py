"""What people read of a run: pages, charts, causes, costs, timing and progress."""
