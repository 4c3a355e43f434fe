"""`braid ingest --shards`: progress on stderr, the combined report on stdout."""

import asyncio
from typing import NoReturn

import typer

from deployments.commands.common import CODE_OF_STATUS, emit, stderr, stdout
from deployments.runs import Request
from deployments.server.connecting import connect
from deployments.settings import WORK_POOL, Settings


def execute_in_shards(
    request: Request,
    *,
    shards: int,
    work_pool: str | None,
    tolerated_failure: str | None,
    settings: Settings,
    json_output: bool,
) -> NoReturn:
    """Ingest in shards, and end the command by the combined status."""
    from deployments.shards import Sharding, ingest_in_shards, read_tolerance, report_json, report_tables

    sharding = Sharding(shards, work_pool or WORK_POOL, read_tolerance(tolerated_failure))
    connect(settings)
    from deployments.server.shard_runs import connect_shards  # imports Prefect, which takes seconds

    console = stderr()

    def announce(line: str) -> None:
        if not json_output:
            console.print(line, style="dim", markup=False)

    report = asyncio.run(
        ingest_in_shards(request, sharding, settings=settings, connect=connect_shards, announce=announce)
    )
    if json_output:
        emit(report_json(report))
    else:
        stdout().print(report_tables(report))
    raise typer.Exit(CODE_OF_STATUS[report.status])
