"""Who may start: windows, shared resources, admission and the budget of a run."""
