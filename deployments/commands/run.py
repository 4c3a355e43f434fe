"""`braid run`: run any pipeline, here or as a run of its deployment."""

from collections.abc import Iterable
from typing import Annotated, NoReturn
from urllib.parse import urlsplit

import typer

from deployments.catalog import Catalog, load_catalog
from deployments.commands.common import (
    FAILED,
    OK,
    PARTIAL,
    BudgetOption,
    IndexOption,
    JsonOption,
    RunnerOption,
    WorkersOption,
    emit,
    reported,
    stdout,
)
from deployments.commands.completion import complete_pipelines
from deployments.commands.execution import EngineOption, ceiling_from, execute
from deployments.indexes import is_postgres
from deployments.runs import Request, open_run_store, refuse_missing_index
from deployments.screen import output_parts
from deployments.server.connecting import connect
from deployments.setting_values import read_budget
from deployments.settings import Settings, load_settings
from flows.author import OutputRecord, outputs_json
from flows.model import InvalidParameters

_HERE = ("127.0.0.1", "localhost", "::1")


@reported
def run(
    pipeline: Annotated[
        str,
        typer.Argument(
            metavar="PIPELINE", help="A name, pipeline.NAME, or a YAML file.", autocompletion=complete_pipelines
        ),
    ],
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="A parameter; may be repeated."),
    ] = None,
    index: IndexOption = "default",
    max_workers: WorkersOption = None,
    budget: BudgetOption = None,
    task_runner: RunnerOption = None,
    deployed: Annotated[
        bool, typer.Option("--deployed", help="Start a run of its deployment on the Prefect server instead.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="With --deployed: wait until it has ended.")] = False,
    engine: EngineOption = "prefect",
    json_output: JsonOption = False,
) -> None:
    """Run a pipeline of the catalog or in a file.

    Values are read as the types that the pipeline declares: lists as a,b or JSON, mappings as JSON.

    Examples:

      braid run ingest -p source=manuals -p pattern='**/*.md' --index manuals

      braid run ./my_pipeline.yaml -p limit=10 --max-workers 4

      braid run my_pipeline.yaml --engine inline --json | jq .status

      braid run ingest --deployed -p source=/srv/documents --index manuals --wait
    """
    if wait and not deployed:
        raise InvalidParameters("--wait needs --deployed; without --deployed, the command always waits for the run")
    if deployed and task_runner is not None:
        raise InvalidParameters(
            "--task-runner cannot be combined with --deployed, which uses BRAID_TASK_RUNNER of the worker"
        )
    settings = load_settings()
    catalog = load_catalog(settings)
    request = Request(
        catalog.find(pipeline),
        read_parameters(parameter or ()),
        index=index,
        ceiling=ceiling_from(max_workers),
        budget=read_budget(budget or ()),
        task_runner=task_runner,
        engine=engine,
    )
    if deployed:
        _refuse_missing_index(request, settings, catalog)
        run_deployed(request, settings, wait=wait, json_output=json_output)
    execute(request, settings=settings, catalog=catalog, json_output=json_output)


def _refuse_missing_index(request: Request, settings: Settings, catalog: Catalog) -> None:
    """Refuse a missing index, unless the worker may have its own index files; then its run would fail immediately."""
    if urlsplit(connect(settings)).hostname in _HERE or is_postgres(settings.index_location(request.index)):
        refuse_missing_index(request, settings=settings, catalog=catalog)


def run_deployed(request: Request, settings: Settings, *, wait: bool, json_output: bool) -> NoReturn:
    """Start a run of a deployment; end the command with 0, or with `wait` by the run's status."""
    url = connect(settings)
    from deployments.server.triggering import trigger  # imports Prefect, which takes seconds

    started = trigger(request, wait=wait)
    ui = f"{url.removesuffix('/api')}/runs/flow-run/{started.id}"
    state = started.state.name if started.state is not None else "Pending"
    outputs = _outputs_of(str(started.id), settings) if wait else []
    if json_output:
        known = outputs_json(outputs) if outputs else {}
        emit({"flow_run_id": str(started.id), "name": started.name, "state": state, "url": ui, **known})
    else:
        stdout().print(f"{started.name}: {state}\n{ui}")
        for part in output_parts(outputs):
            stdout().print(part)
    failed = wait and (started.state is None or not started.state.is_completed())
    raise typer.Exit(FAILED if failed else PARTIAL if state == "PartialSuccess" else OK)


def _outputs_of(flow_run_id: str, settings: Settings) -> list[OutputRecord]:
    """The outputs of a flow run, if its worker uses the same run store."""
    with open_run_store(settings) as store:
        record = store.of_flow_run(flow_run_id)
        return store.outputs(record.run_id) if record is not None else []


def read_parameters(texts: Iterable[str]) -> dict[str, str]:
    """`KEY=VALUE` texts as a mapping.

    Raises:
        InvalidParameters: one has no `=`, or a key is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidParameters(f"{text!r} is not a parameter; write -p KEY=VALUE")
        if key in found:
            raise InvalidParameters(f"the parameter {key!r} is given twice")
        found[key] = value
    return found
