"""Recorded runs: a list of runs as a table, and one run with every step, as tables and as JSON."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from rich.console import Group as Rows
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from deployments.screen.outputs import output_parts
from deployments.screen.results import cost_table, failure_tables
from deployments.screen.tables import STATUS_STYLE, local_time, plain_table
from flows.author import Outcome, OutputRecord, cost_text, outcome_from_row, outputs_json
from flows.engine import usual_seconds
from flows.model import StepPath
from flows.reports import cost_json, cost_report, error_json, error_report

if TYPE_CHECKING:
    from flows.run_store import RunningBranch, RunRecord, RunStore


_WITHOUT_RESULT = {"crashed": "Its process is gone.", "cancelled": "It was stopped."}


@dataclass(frozen=True)
class RecordedRun:
    """All data of one run in the run store."""

    record: "RunRecord"
    outcomes: Sequence[Mapping[str, Any]]
    attempts: Sequence[Mapping[str, Any]]
    related: Sequence[str]
    """The ids of the runs that it continues, and of the runs that continue it."""
    going: "Sequence[RunningBranch]"
    usual_s: Mapping[str, float]
    """The usual seconds of steps, by path in the plan."""
    outputs: Sequence[OutputRecord]

    @property
    def ended(self) -> list[Outcome]:
        return [outcome_from_row(row) for row in self.outcomes]


def read_runs(
    store: "RunStore", *, pipeline: str | None, limit: int, status: str | None = None, since: float | None = None
) -> "list[RunRecord]":
    """The newest runs, each with its cost so far (also for running and crashed runs).

    A run whose process is gone counts as crashed, even if the store has another status.
    """
    found = store.recent(pipeline=pipeline, status=status, since=since, limit=limit)
    if status == "crashed":
        silent = store.recent(pipeline=pipeline, status="running", since=since, limit=limit)
        found = sorted([*found, *silent], key=lambda record: record.started, reverse=True)
    seen = [record.seen(time.time()) for record in found]
    chosen = [record for record in seen if status in (None, record.status)][:limit]
    return [replace(record, cost=store.spent(record)) for record in chosen]


def read_run(store: "RunStore", run: str) -> RecordedRun:
    """The run whose id is, or begins with, `run`.

    Raises:
        AmbiguousRun: several ids begin with it.
        UnknownName: there is no such run.
    """
    record = store.find(run).seen(time.time())
    going = store.running_branches(record.run_id)
    return RecordedRun(
        replace(record, cost=store.spent(record)),
        store.outcomes(record.run_id),
        store.attempts(record.run_id),
        [one.run_id for one in store.chain(record.chain) if one.run_id != record.run_id],
        going,
        usual_seconds(store.step_statistics(record.pipeline)) if going else {},
        store.outputs(record.run_id),
    )


def runs_table(records: "Iterable[RunRecord]") -> Table:
    """A row per run."""
    columns = ("run", "pipeline", "index", "status", "started", "seconds", "cost", "parameters")
    table = plain_table(*columns, right=("seconds",))
    for column in table.columns:
        column.no_wrap = column.header not in ("cost", "parameters")
    for record in records:
        given = ", ".join(f"{name}={value}" for name, value in record.parameters.items())
        table.add_row(
            record.run_id,
            record.pipeline,
            record.index,
            _status_text(record.status),
            local_time(record.started),
            "" if record.seconds is None else f"{record.seconds:.1f}",
            Text(cost_text(record.cost or {})),
            Text(given if len(given) <= 80 else f"{given[:79]}…"),
        )
    return table


def run_json(run: RecordedRun) -> dict[str, Any]:
    ended = run.ended
    return asdict(run.record) | {
        **outputs_json(run.outputs),
        "outcomes": run.outcomes,
        "attempts": run.attempts,
        "related": run.related,
        "going": [asdict(step) | {"usual_s": run.usual_s.get(StepPath(step.path).plain)} for step in run.going],
        "errors": error_json(error_report(ended)),
        "costs": cost_json(cost_report(ended)),
    }


def run_tables(run: RecordedRun) -> RenderableType:
    """Status and parameters, running steps, how every other step ended, costs, failures and outputs."""
    record, ended = run.record, run.ended
    lines: list[RenderableType] = [
        Text.assemble(
            (record.pipeline, "bold"),
            f" {record.run_id} on index {record.index}: ",
            (record.status, STATUS_STYLE.get(record.status, "")),
            f", started {local_time(record.started)}",
            f", {record.seconds:.1f} s" if record.seconds is not None else "",
            f", {cost_text(record.cost)}" if record.cost else "",
        )
    ]
    if record.resumed_from is not None:
        lines.append(Text(f"It continues run {record.resumed_from}; steps taken over from there are marked."))
    if run.related:
        lines.append(Text(f"Other runs of its chain (they resume each other): {', '.join(run.related)}", "dim"))
    lines += [Text(f"  {name}: {value}") for name, value in record.parameters.items()]
    if run.going:
        lines.append(_running_table(run, "Running" if record.status == "running" else "When it ended"))
    elif record.status == "running":
        lines.append(Text("None of its steps is running."))
    if record.status in _WITHOUT_RESULT:
        lines.append(Text(f"{_WITHOUT_RESULT[record.status]} {how_to_resume(record.run_id)}.", "yellow"))
    lines += [_outcome_table(run.outcomes), *_failed_attempts(run.attempts)]
    return Rows(*lines, *cost_table(cost_report(ended)), *failure_tables(ended), *output_parts(run.outputs))


def how_to_resume(run_id: str) -> str:
    return f"Finished steps are kept; go on with `braid resume {run_id}`"


def _running_table(run: RecordedRun, title: str) -> Table:
    numbers = ("seconds", "usually", "done")
    table = plain_table("path", "step", "since", "seconds", "usually", "done", "", right=numbers, title=title)
    for step in run.going:
        usual = run.usual_s.get(StepPath(step.path).plain)
        done = "" if step.done is None else f"{step.done}{'' if step.total is None else f' of {step.total}'}"
        table.add_row(
            step.path,
            Text(step.step_id),
            local_time(step.started),
            f"{time.time() - step.started:.0f}",
            "" if usual is None else f"{usual:.1f}",
            done,
            Text("stuck?" if step.stuck else "", "yellow"),
        )
    return table


def _outcome_table(outcomes: Iterable[Mapping[str, Any]]) -> Table:
    numbers = ("seconds", "attempts")
    table = plain_table("path", "what", "ended", "seconds", "attempts", "why", right=numbers, overflow="fold")
    for row in outcomes:
        reason = row["error"]["message"] if row["error"] else row["reason"]
        table.add_row(
            row["path"],
            Text(row["step_id"], "" if row["kind"] == "step" else "dim"),
            _status_text(row["status"]),
            f"{row['seconds']:.2f}",
            str(row["attempts"]),
            Text(reason or ("taken over" if row["reused"] else "")),
        )
    return table


def _failed_attempts(attempts: Iterable[Mapping[str, Any]]) -> list[Table]:
    """The failed attempts, including the last ones of failed steps; empty if all attempts succeeded."""
    failed = [row for row in attempts if row["status"] != "succeeded"]
    if not failed:
        return []
    columns = ("what", "attempt", "ended", "at", "seconds", "why")
    table = plain_table(*columns, right=("seconds", "attempt"), overflow="fold", title="Attempts that failed")
    for row in failed:
        table.add_row(
            Text(row["step_id"]),
            str(row["number"]),
            row["status"].replace("_", " "),
            local_time(row["started"]),
            f"{row['seconds']:.2f}",
            Text(row["error"]["message"] if row["error"] else ""),
        )
    return [table]


def _status_text(status: str) -> Text:
    return Text(status, STATUS_STYLE.get(status, ""))
