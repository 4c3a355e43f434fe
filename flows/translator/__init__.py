"""The only room that knows Prefect: pipelines as flows, leaves as task runs, seats on the server."""
