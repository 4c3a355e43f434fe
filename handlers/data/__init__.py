"""Data steps: `query`, `transform`, `skill` and `merge`, as in data pipelines of the `type: parallel` dialect."""
