"""`braid resume`: continue a run that has not succeeded."""

from dataclasses import replace
from typing import Annotated, Any

import typer

from deployments.catalog import load_catalog
from deployments.commands.common import (
    CODE_OF_STATUS,
    BudgetOption,
    JsonOption,
    RunArgument,
    WorkersOption,
    emit,
    reported,
    stderr,
    stdout,
)
from deployments.commands.execution import EngineOption, ceiling_from, run_watched
from deployments.commands.run import read_parameters, run_deployed
from deployments.runs import Request, find_run, request_to_resume
from deployments.screen import result_json, result_tables
from deployments.setting_values import read_budget
from deployments.settings import load_settings
from flows.model import InvalidParameters
from flows.reports import counted


@reported
def resume(
    run: RunArgument,
    parameter: Annotated[
        list[str] | None,
        typer.Option(
            "--parameter", "-p", metavar="KEY=VALUE", help="Replaces a parameter of the run; may be repeated."
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Continue also if the pipeline has changed; finished steps that no longer fit it run again."
        ),
    ] = False,
    max_workers: WorkersOption = None,
    budget: BudgetOption = None,
    deployed: Annotated[
        bool, typer.Option("--deployed", help="Continue it as a run of its deployment on the Prefect server instead.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="With --deployed: wait until it has ended.")] = False,
    engine: EngineOption = "prefect",
    json_output: JsonOption = False,
) -> None:
    """Continue a run as a new run that is linked to it; steps that had succeeded are taken over.

    Works after a failure, an interruption, a crash or a power cut. Fix the pipeline first if necessary: steps that had
    not finished may change freely; a changed step that had finished is reported, and needs --force.

    Examples:

      braid resume 261121-0529

      braid resume 261121-0529 --max-workers 2

      braid resume 261121-0529 --deployed --wait      (a worker does it)

      braid resume 261121-0529 --budget usd=10        (in all, including the earlier runs)
    """
    if wait and not deployed:
        raise InvalidParameters("--wait needs --deployed; without --deployed, the command always waits for the run")
    settings = load_settings()
    catalog = load_catalog(settings)
    earlier = find_run(run, settings)
    if deployed:
        # The worker reads the parameters of that run from the run store; these only replace some of them.
        given: dict[str, Any] = {**read_parameters(parameter or ()), "resume_from": earlier.run_id}
        again = Request(
            catalog.find(earlier.pipeline),
            given | ({"resume_anyway": True} if force else {}),
            ceiling=ceiling_from(max_workers),
            budget=read_budget(budget or ()),
        )
        run_deployed(again, settings, wait=wait, json_output=json_output)
    request = request_to_resume(earlier, catalog=catalog, given=read_parameters(parameter or ()))
    request = replace(
        request,
        ceiling=ceiling_from(max_workers),
        budget=read_budget(budget or ()),
        engine=engine,
        force=force,
    )
    if not json_output:
        stderr().print(f"Continuing run {earlier.run_id} ({earlier.status}) …", style="dim")
    result = run_watched(request, settings=settings, catalog=catalog, quiet=json_output)
    if json_output:
        emit(result_json(result, index=request.index) | {"resumed_from": earlier.run_id})
    else:
        stdout().print(result_tables(result))
        reused = sum(1 for outcome in result.outcomes if outcome.reused)
        stdout().print(f"{counted(reused, 'finished step')} taken over from run {earlier.run_id}.", style="dim")
    raise typer.Exit(CODE_OF_STATUS[result.status])
