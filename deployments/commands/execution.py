"""Run a pipeline for a command: progress goes to stderr, the result to stdout, and the status sets the exit code."""

from collections.abc import Sequence
from typing import Annotated, NoReturn

import typer

from deployments.catalog import Catalog
from deployments.commands.common import CODE_OF_STATUS, emit, stderr, stdout
from deployments.runs import BuiltVersion, Request, run_pipeline
from deployments.screen import balance_table, result_json, result_tables, show_progress
from deployments.server.services import all_services
from deployments.settings import Settings
from flows.author import RunResult
from flows.planning import Limit
from flows.running import Engine

EngineOption = Annotated[
    Engine,
    typer.Option(help="prefect: a flow run with one task run per step. inline: direct calls, for trying things out."),
]


def execute(request: Request, *, settings: Settings, catalog: Catalog, json_output: bool) -> NoReturn:
    """Run a request, and end the command with the exit code of the run's status."""
    result = run_watched(request, settings=settings, catalog=catalog, quiet=json_output)
    if json_output:
        emit(result_json(result, index=request.index))
    else:
        stdout().print(result_tables(result))
        if "balance" not in result.outputs and (balance := result.context.data.get("balance")):
            stdout().print(balance_table([balance]))
        if built := result.context.data.get("index_version"):
            stdout().print(f"Index {request.index}: {BuiltVersion(**built)}.", highlight=False)
    raise typer.Exit(CODE_OF_STATUS[result.status])


def run_watched(request: Request, *, settings: Settings, catalog: Catalog, quiet: bool) -> RunResult:
    """The result of a request; unless `quiet`, its progress is shown on stderr."""
    console = stderr()

    def announce_prefect() -> None:
        if not quiet:
            console.print("Starting Prefect …", style="dim")

    services = all_services(settings, request.index)
    try:
        with show_progress(console, quiet=quiet) as progress:
            return run_pipeline(
                request,
                settings=settings,
                catalog=catalog,
                services=services,
                progress=progress,
                before_prefect=announce_prefect,
            )
    finally:
        services.close()


def ceiling_from(max_workers: int | None) -> Limit | None:
    """The ceiling that `--max-workers` sets."""
    return None if max_workers is None else Limit(max_workers, "--max-workers")


def excluding(catalog: Catalog, name: str, more: Sequence[str]) -> list[str]:
    """The globs that a pipeline excludes by default, plus `more`."""
    declared = catalog.find(name).pipeline.parameters.get("exclude")
    return [*((declared.default or ()) if declared else ()), *more]
