"""Run a pipeline for a command: with progress on stderr, the result on stdout, and the exit code it deserves."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from deployments.catalog import Catalog, load_catalog
from deployments.commands.common import CODE_OF_STATUS, emit, stderr, stdout
from deployments.runs import run_pipeline
from deployments.screen import result_json, result_tables, watch
from deployments.settings import Settings, load_settings, read_budget
from flows.author import RunResult
from flows.loaders import LoadedPipeline

if TYPE_CHECKING:
    from flows.run_store import RunRecord

EngineOption = Annotated[
    Literal["prefect", "inline"],
    typer.Option(help="prefect: a flow run with a task run a step. inline: plain calls, for trying things out."),
]


def execute(
    name: str,
    parameters: Mapping[str, Any],
    *,
    index: str,
    max_workers: int | None,
    engine: Literal["prefect", "inline"],
    json_output: bool,
    budget: Sequence[str] | None = None,
    more_excluded: Sequence[str] = (),
    task_runner: Literal["threads", "dask", "ray"] | None = None,
) -> None:
    """Run the pipeline `name` and end the command as the run ended."""
    settings = on_runner(load_settings(), task_runner)
    catalog = load_catalog(settings)
    given = dict(parameters)
    if more_excluded:
        given["exclude"] = excluding(catalog, name, more_excluded)
    result = watched(
        catalog.find(name),
        given,
        settings=settings,
        catalog=catalog,
        index=index,
        max_workers=max_workers,
        engine=engine,
        quiet=json_output,
        budget=read_budget(budget or ()),
    )
    if json_output:
        emit(result_json(result, index=index))
    else:
        stdout().print(result_tables(result))
        changes = result.context.data.get("changes")
        if name == "ingest" and changes:
            counted = ", ".join(f"{number:,} {what}" for what, number in changes.items() if number)
            stdout().print(f"\nDocuments: {counted}", markup=False)
    raise typer.Exit(CODE_OF_STATUS[result.status])


def watched(
    loaded: LoadedPipeline,
    parameters: Mapping[str, Any],
    *,
    settings: Settings,
    catalog: Catalog,
    index: str,
    max_workers: int | None,
    engine: Literal["prefect", "inline"],
    quiet: bool,
    budget: Mapping[str, float] | None = None,
    resumes: "RunRecord | None" = None,
    force: bool = False,
) -> RunResult:
    """Run a pipeline with progress on stderr."""
    console = stderr()

    def announce() -> None:
        if not quiet:
            console.print("Starting Prefect …", style="dim")

    with watch(console, quiet=quiet) as progress:
        return run_pipeline(
            loaded,
            parameters,
            settings=settings,
            catalog=catalog,
            index=index,
            max_workers=max_workers,
            engine=engine,
            progress=progress,
            budget=budget,
            resumes=resumes,
            force=force,
            before_prefect=announce,
        )


def on_runner(settings: Settings, task_runner: Literal["threads", "dask", "ray"] | None) -> Settings:
    """The settings with what the command line says of the task runner."""
    return settings if task_runner is None else settings.model_copy(update={"task_runner": task_runner})


def excluding(catalog: Catalog, name: str, more: Sequence[str]) -> list[str]:
    """What the pipeline leaves out anyhow, and more."""
    declared = catalog.find(name).pipeline.parameters.get("exclude")
    return [*((declared.default or ()) if declared else ()), *more]
