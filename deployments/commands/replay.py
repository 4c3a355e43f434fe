"""`braid replay`: run one step of an earlier run again, on the inputs it had then."""

import asyncio
from typing import Annotated, Any

import typer
from rich.text import Text

from deployments.catalog import load_catalog
from deployments.commands.common import FAILED, OK, JsonOption, RunArgument, emit, reported, stdout
from deployments.commands.run import read_parameters
from deployments.runs import find_run, open_run_store, prepare, request_to_resume
from deployments.screen import STATUS_STYLE, plain_table
from deployments.settings import load_settings
from flows.state import Change


@reported
def replay(
    run: RunArgument,
    step: Annotated[str, typer.Argument(metavar="STEP", help="The step's id or path, as `braid runs show` lists it.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter", "-p", metavar="KEY=VALUE", help="Replaces a parameter of the run; may be repeated."
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Run one step of an earlier run again, on exactly the inputs it had then, and no other step.

    Effects of the step outside of Braid, such as storing, happen again. Nothing is recorded.

    Examples:

      braid replay 261121-0529 list

      braid replay 261121-0529 '1.batches.2.partition_text[3]' --json
    """
    from flows.engine import replay_step
    from flows.run_store import Recorder

    settings = load_settings()
    catalog = load_catalog(settings)
    record = find_run(run, settings)
    request = request_to_resume(record, catalog=catalog, given=read_parameters(parameter or ()))
    prepared = prepare(request, settings=settings, catalog=catalog, run_id=record.run_id)
    try:
        with open_run_store(settings) as store:
            journal = Recorder(store, resumes=record)
            replayed = asyncio.run(replay_step(prepared.plan, prepared.context, journal, step))
    finally:
        prepared.context.services.close()
    outcome = replayed.outcome
    verdict = (
        "the step had not succeeded in that run"
        if replayed.recorded is None
        else ("it wrote the same as in that run" if replayed.same else "it wrote other values than in that run")
    )
    if json_output:
        emit(
            {
                "run": record.run_id,
                "step": outcome.id,
                "path": outcome.path,
                "status": outcome.status,
                "seconds": outcome.seconds,
                "error": outcome.error and outcome.error.message,
                "same": replayed.same,
                "writes": [_change_json(change) for change in replayed.writes],
                "recorded": None
                if replayed.recorded is None
                else [_change_json(change) for change in replayed.recorded],
            }
        )
    else:
        console = stdout()
        console.print(
            Text.assemble(
                (outcome.id, "bold"),
                " ",
                (outcome.status, STATUS_STYLE.get(outcome.status, "")),
                f" in {outcome.seconds:.2f} s; {verdict}.",
            )
        )
        if outcome.error is not None:
            console.print(f"{outcome.error.kind}: {outcome.error.message}", markup=False)
        table = plain_table("field", "now", "then", overflow="fold")
        then = {change.field: str(change) for change in replayed.recorded or ()}
        now = {change.field: str(change) for change in replayed.writes}
        for field in {**now, **then}:
            table.add_row(field, Text(now.get(field, "")), Text(then.get(field, "")))
        console.print(table)
    raise typer.Exit(OK if outcome.status == "succeeded" else FAILED)


def _change_json(change: Change) -> dict[str, Any]:
    return {"field": change.field, "kind": change.kind, "value": str(change)}
