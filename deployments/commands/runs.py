"""`braid runs`: what ran, and how every step of a run ended."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from deployments.commands.common import JsonOption, emit, reported, stdout
from deployments.screen import STATUS_STYLE, cost_table, failure_tables
from deployments.server.zombies import way_on
from deployments.settings import load_settings
from flows.author import cost_text, outcome_from_row
from flows.engine import usual_seconds
from flows.errors import UnknownName
from flows.model import StepPath
from flows.reports import cost_json, cost_report, error_json, error_report

if TYPE_CHECKING:
    from flows.run_store import RunningBranch, RunStore

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
    with _store() as store:
        # What a run that was killed, or goes on, has cost so far is in its attempts.
        found = [replace(record, cost=store.spent(record)) for record in store.recent(pipeline=pipeline, limit=limit)]
    if json_output:
        emit({"runs": [asdict(record) for record in found]})
        return
    if not found:
        stdout().print("No runs yet; `braid demo` makes one.")
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("run", "pipeline", "index", "status", "started", "seconds", "cost", "parameters"):
        table.add_column(
            column, no_wrap=column not in ("cost", "parameters"), justify="right" if column == "seconds" else "left"
        )
    for record in found:
        given = ", ".join(f"{name}={value}" for name, value in record.parameters.items())
        table.add_row(
            record.run_id,
            record.pipeline,
            record.index,
            Text(record.status, STATUS_STYLE.get(record.status, "")),
            _local_time(record.started),
            "" if record.seconds is None else f"{record.seconds:.1f}",
            Text(cost_text(record.cost or {})),
            Text(given if len(given) <= 80 else f"{given[:79]}…"),
        )
    stdout().print(table)


@app.command()
@reported
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run id, or the beginning of one.")],
    json_output: JsonOption = False,
) -> None:
    """Show one run: how every step, group and batch ended, and what was set aside."""
    with _store() as store:
        record = store.get(run)
        if record is None:
            raise UnknownName("run", run, [known.run_id for known in store.recent(limit=200)])
        record = replace(record, cost=store.spent(record))
        outcomes = store.outcomes(record.run_id)
        attempts = store.attempts(record.run_id)
        related = [one.run_id for one in store.lineage(record.lineage) if one.run_id != record.run_id]
        going = store.going(record.run_id)
        usual = usual_seconds(store.step_statistics(record.pipeline)) if going else {}
    ended = [outcome_from_row(row) for row in outcomes]
    if json_output:
        errors, costs = error_json(error_report(ended)), cost_json(cost_report(ended))
        goes_on = [asdict(step) | {"usual_s": usual.get(StepPath(step.path).plain)} for step in going]
        emit(
            asdict(record)
            | {
                "outcomes": outcomes,
                "attempts": attempts,
                "related": related,
                "going": goes_on,
                "errors": errors,
                "costs": costs,
            }
        )
        return
    console = stdout()
    console.print(
        Text.assemble(
            (record.pipeline, "bold"),
            f" {record.run_id} on index {record.index}: ",
            (record.status, STATUS_STYLE.get(record.status, "")),
            f", started {_local_time(record.started)}",
            f", {record.seconds:.1f} s" if record.seconds is not None else "",
            f", {cost_text(record.cost)}" if record.cost else "",
        )
    )
    if record.resumed_from is not None:
        console.print(f"It goes on from run {record.resumed_from}; what was taken over from there says so.")
    if related:
        console.print(f"Runs that go on from each other with it: {', '.join(related)}", style="dim")
    for name, value in record.parameters.items():
        console.print(f"  {name}: {value}", markup=False)
    if going:
        console.print(_going_table(going, usual, "running" if record.is_alive(time.time()) else "when it was stopped"))
    elif record.status == "running":
        console.print("Nothing of it is running at the moment.")
    if record.status == "running" and not record.is_alive(time.time()):
        console.print("Its process is gone; `braid doctor --repair` marks it, `braid resume` goes on.", style="yellow")
    if record.status == "interrupted":
        console.print(f"It was interrupted. {way_on(record.run_id)}", style="yellow")
    console.print(_outcome_table(outcomes))
    console.print(*_failed_attempts(attempts), sep="\n")
    for part in [*cost_table(cost_report(ended)), *failure_tables(ended)]:
        console.print(part)


def _going_table(going: "list[RunningBranch]", usual: Mapping[str, float], heading: str) -> Table:
    """The steps that have begun and not ended."""
    table = Table(box=None, header_style="bold", pad_edge=False, title=heading.capitalize(), title_justify="left")
    for column in ("path", "step", "since", "seconds", "usually", "done", ""):
        table.add_column(column, justify="right" if column in ("seconds", "usually", "done") else "left")
    for step in going:
        known = usual.get(StepPath(step.path).plain)
        done = "" if step.done is None else f"{step.done}{'' if step.total is None else f' of {step.total}'}"
        table.add_row(
            step.path,
            Text(step.step_id),
            _local_time(step.started),
            f"{time.time() - step.started:.0f}",
            "" if known is None else f"{known:.1f}",
            done,
            Text("stuck?" if step.stuck else "", "yellow"),
        )
    return table


def _outcome_table(outcomes: list[dict[str, Any]]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for column in ("path", "what", "ended", "seconds", "attempts", "why"):
        table.add_column(column, justify="right" if column in ("seconds", "attempts") else "left", overflow="fold")
    for row in outcomes:
        why = row["error"]["message"] if row["error"] else row["reason"]
        why = why or ("taken over" if row["reused"] else "")
        table.add_row(
            row["path"],
            Text(row["step_id"], "" if row["kind"] == "step" else "dim"),
            Text(row["status"], STATUS_STYLE.get(row["status"], "")),
            f"{row['seconds']:.2f}",
            str(row["attempts"]),
            Text(why),
        )
    return table


def _failed_attempts(attempts: list[dict[str, Any]]) -> list[Table]:
    """The attempts after which another one followed, or that ended their step."""
    failed = [row for row in attempts if row["status"] != "succeeded"]
    if not failed:
        return []
    table = Table(box=None, header_style="bold", pad_edge=False, title="Attempts that failed", title_justify="left")
    for column in ("what", "attempt", "ended", "at", "seconds", "why"):
        table.add_column(column, justify="right" if column in ("seconds", "attempt") else "left", overflow="fold")
    for row in failed:
        why = row["error"]["message"] if row["error"] else ""
        may_pass = row["status"] == "failed" and row["error"]["transient"]
        table.add_row(
            Text(row["step_id"]),
            str(row["number"]),
            "failed, transient" if may_pass else row["status"].replace("_", " "),
            _local_time(row["started"]),
            f"{row['seconds']:.2f}",
            Text(why),
        )
    return [table]


def _local_time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds).astimezone().strftime("%Y-%m-%d %H:%M:%S")


@contextmanager
def _store() -> "Iterator[RunStore]":
    from flows.run_store import RunStore  # SQLAlchemy takes a while to import

    store = RunStore(load_settings().run_store_url)
    try:
        yield store
    finally:
        store.close()
