"""`braid runs`: recorded runs, and how every step of a run ended."""

from dataclasses import asdict
from typing import Annotated

import typer

from deployments.commands.common import JsonOption, emit, reported, stdout
from deployments.runs import open_run_store
from deployments.screen import read_run, read_runs, run_json, run_tables, runs_table
from deployments.settings import load_settings

app = typer.Typer(invoke_without_command=True, no_args_is_help=False)


@app.callback()
@reported
def runs(
    context: typer.Context,
    pipeline: Annotated[str | None, typer.Option(help="Only runs of this pipeline.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    json_output: JsonOption = False,
) -> None:
    """List runs, the newest first; `braid runs show RUN` shows one with every step.

    Examples:

      braid runs --pipeline ingest

      braid runs show 261121-0529 --json | jq '.outcomes[] | select(.error)'
    """
    if context.invoked_subcommand is not None:
        return
    with open_run_store(load_settings()) as store:
        found = read_runs(store, pipeline=pipeline, limit=limit)
    if json_output:
        emit({"runs": [asdict(record) for record in found]})
    elif found:
        stdout().print(runs_table(found))
    else:
        stdout().print("No runs yet; `braid demo` makes one.")


@app.command()
@reported
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run id, or the beginning of one.")],
    json_output: JsonOption = False,
) -> None:
    """Show one run: how every step, group and batch ended, and which items were set aside."""
    with open_run_store(load_settings()) as store:
        found = read_run(store, run)
    if json_output:
        emit(run_json(found))
    else:
        stdout().print(run_tables(found))
