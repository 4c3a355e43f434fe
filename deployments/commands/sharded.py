"""`braid ingest --shards`: told about on stderr, reported on stdout."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import typer

from deployments.catalog import load_catalog
from deployments.commands.common import CODE_OF_STATUS, emit, stderr, stdout
from deployments.commands.execution import excluding
from deployments.settings import load_settings, read_budget


def execute_in_shards(
    parameters: Mapping[str, Any],
    shards: int,
    *,
    index: str,
    work_pool: str | None,
    tolerated_failure: str | None,
    max_workers: int | None,
    budget: Sequence[str] | None,
    more_excluded: Sequence[str],
    json_output: bool,
) -> None:
    """Ingest in shards and end the command as all of them together ended."""
    settings = load_settings()
    catalog = load_catalog(settings)
    given = dict(parameters)
    if more_excluded:
        given["exclude"] = excluding(catalog, "ingest", more_excluded)
    from deployments.server.connecting import connect  # Prefect takes seconds to import

    connect(settings)
    from deployments.shards.ingest import ingest_in_shards, read_tolerance
    from deployments.shards.report import report_json, report_tables

    console = stderr()

    def told(line: str) -> None:
        if not json_output:
            console.print(line, style="dim", markup=False)

    report = asyncio.run(
        ingest_in_shards(
            given,
            shards,
            settings=settings,
            catalog=catalog,
            index=index,
            work_pool=work_pool,
            tolerated=read_tolerance(tolerated_failure),
            max_workers=max_workers,
            budget=read_budget(budget or ()),
            told=told,
        )
    )
    if json_output:
        emit(report_json(report))
    else:
        stdout().print(report_tables(report))
    raise typer.Exit(CODE_OF_STATUS[report.status])
