"""Braid wired and shipped: settings, catalog, pipelines and the command line, in these rooms.

- `commands`: the command line, one module per command;
- `server`: the Prefect server: deployments, their schedules and flows, checks;
- `shards`: one ingestion in several deployment runs;
- `runs`: one run in this process, from its request to its record;
- `screen`: everything that is shown in a terminal.
"""

__all__: list[str] = []
