"""Braid wired and shipped: settings, catalog, pipelines, the command line, and all that talks to a Prefect server."""

__all__: list[str] = []
