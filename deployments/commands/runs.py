"""`braid runs`: recorded runs, and how every step of a run ended."""

import time
from dataclasses import asdict
from datetime import datetime
from typing import Annotated

import typer

from deployments.commands.common import JsonOption, RunArgument, emit, reported, stdout
from deployments.runs import open_run_store
from deployments.screen import read_run, read_runs, run_json, run_tables, runs_table
from deployments.settings import load_settings
from flows.errors import suggest
from flows.model import InvalidParameters

STATUSES = ("succeeded", "partial", "failed", "running", "cancelled", "crashed")
_UNITS = {"m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
app = typer.Typer(invoke_without_command=True, no_args_is_help=False)


@app.callback()
@reported
def runs(
    context: typer.Context,
    pipeline: Annotated[str | None, typer.Option(help="Only runs of this pipeline.")] = None,
    status: Annotated[
        str | None, typer.Option(metavar="STATUS", help=f"Only runs with this status: {', '.join(STATUSES)}.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only runs that started since this time: 2026-11-21, or 36h or 7d ago."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="The number of runs, newest first.")] = 20,
    json_output: JsonOption = False,
) -> None:
    """List runs, the newest first; `braid runs show RUN` shows one with every step.

    Examples:

      braid runs --pipeline ingest

      braid runs --status failed --since 24h

      braid runs show 261121-0529 --json | jq '.outcomes[] | select(.error)'
    """
    if context.invoked_subcommand is not None:
        return
    if status is not None and status not in STATUSES:
        raise InvalidParameters(f"no run has the status {status!r}{suggest(status, STATUSES)}")
    begin = read_moment(since) if since is not None else None
    with open_run_store(load_settings()) as store:
        found = read_runs(store, pipeline=pipeline, limit=limit, status=status, since=begin)
    if json_output:
        emit({"runs": [asdict(record) for record in found]})
    elif found:
        stdout().print(runs_table(found))
    else:
        narrowed = pipeline or status or since
        stdout().print("No such runs." if narrowed else "No runs yet; `braid demo` makes one.")


@app.command()
@reported
def show(
    run: RunArgument,
    json_output: JsonOption = False,
) -> None:
    """Show one run: how every step, group and batch ended, and which items were set aside."""
    with open_run_store(load_settings()) as store:
        found = read_run(store, run)
    if json_output:
        emit(run_json(found))
    else:
        stdout().print(run_tables(found))


def read_moment(text: str) -> float:
    """A moment in seconds since the epoch: a date, a date with a time, or how long ago (`36h`).

    Raises:
        InvalidParameters: it is none of these.
    """
    number, unit = text[:-1], text[-1:]
    if unit in _UNITS and number.isdecimal():
        return time.time() - int(number) * _UNITS[unit]
    try:
        return datetime.fromisoformat(text).astimezone().timestamp()
    except ValueError:
        message = f"{text!r} is not a time; write 2026-11-21, 2026-11-21T05:00, or how long ago: 30m, 36h, 7d, 2w"
        raise InvalidParameters(message) from None
