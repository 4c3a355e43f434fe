"""`braid plan`: the plan of a pipeline, without running it."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from deployments.catalog import load_catalog
from deployments.commands.common import JsonOption, RunnerOption, WorkersOption, emit, reported, stdout
from deployments.commands.completion import complete_pipelines
from deployments.commands.execution import ceiling_from
from deployments.runs import Request, load_handlers, open_run_store, plan_request
from deployments.screen import estimate_text, moved_steps, plan_json, plan_tree
from deployments.settings import Settings, load_settings
from flows.model import Pipeline, pipeline_differences
from flows.planning import Plan
from flows.reports import Estimate, draw_mermaid, estimate


@reported
def plan(
    pipeline: Annotated[
        str,
        typer.Argument(
            metavar="PIPELINE", help="A name, pipeline.NAME, or a YAML file.", autocompletion=complete_pipelines
        ),
    ],
    max_workers: WorkersOption = None,
    task_runner: RunnerOption = None,
    as_mermaid: Annotated[bool, typer.Option("--mermaid", help="Print a Mermaid flowchart instead.")] = False,
    diff: Annotated[
        str | None,
        typer.Option("--diff", metavar="OTHER", help="Show the differences to OTHER, a name or a file, instead."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Show the plan of a pipeline: its steps, which of them run in parallel, every limit and where it comes from.

    "4 (step)" is a limit that the step declares, "2 (--max-workers, below the step's 4)" one that the run lowers.

    Examples:

      braid plan ingest

      braid plan ingest --max-workers 1

      braid plan my_pipeline.yaml --mermaid > plan.mmd

      braid plan ingest --diff my_ingest.yaml     # added (+), removed (-), moved (>), changed (~) steps
    """
    settings = load_settings()
    load_handlers(settings)
    catalog = load_catalog(settings)
    found = catalog.find(pipeline)
    if diff is not None:
        _show_differences(found.pipeline, catalog.find(diff).pipeline, json_output)
        return
    request = Request(found, ceiling=ceiling_from(max_workers), task_runner=task_runner)
    made = plan_request(request, settings=settings, catalog=catalog)
    expected = _estimate(settings, made) if not as_mermaid else None
    if json_output:
        emit(
            plan_json(made)
            | {"estimate": asdict(expected) if expected else None}
            | {"file": found.file}
            | ({"mermaid": draw_mermaid(made)} if as_mermaid else {})
        )
        return
    console = stdout()
    if as_mermaid:
        console.print(draw_mermaid(made), markup=False, soft_wrap=True)
        return
    console.print(plan_tree(made))
    moved = moved_steps(made)
    if moved:
        console.print("\nOrder derived from the declarations of the steps:", style="bold")
        for line in moved:
            console.print(f"  {line}", markup=False)
    elif found.pipeline.mode == "dag":
        console.print("\nmode dag: every step needs the one before it, so they stay in order.", style="dim")
    console.print()
    console.print(estimate_text(expected, found.pipeline.name))
    for problem in made.warnings:
        console.print(f"warning: {problem}", style="yellow", markup=False)


def _show_differences(first: Pipeline, second: Pipeline, json_output: bool) -> None:
    found = pipeline_differences(first, second)
    if json_output:
        emit({"pipeline": first.name, "other": second.name, "differences": [one.data() for one in found]})
        return
    styles = {"added": "green", "removed": "red", "moved": "cyan", "changed": "yellow"}
    for one in found:
        stdout().print(str(one), style=styles[one.kind], markup=False, soft_wrap=True)
    if not found:
        stdout().print("no differences")


def _estimate(settings: Settings, made: Plan) -> Estimate | None:
    """An estimate from recorded runs; a missing run store is not created."""
    file = settings.run_store_url.removeprefix("sqlite:///")
    if file != settings.run_store_url and not Path(file).exists():
        return None
    with open_run_store(settings) as store:
        return estimate(made, store.step_statistics(made.pipeline.name))
