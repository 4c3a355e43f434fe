"""`braid run`: any pipeline."""

from typing import Annotated

import typer

from deployments.commands.common import BudgetOption, IndexOption, JsonOption, RunnerOption, WorkersOption, reported
from deployments.commands.execution import EngineOption, execute
from deployments.parameters import InvalidParameters


@reported
def run(
    pipeline: Annotated[str, typer.Argument(metavar="PIPELINE", help="A name, pipeline.NAME, or a YAML file.")],
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="A parameter; may be repeated."),
    ] = None,
    index: IndexOption = "default",
    max_workers: WorkersOption = None,
    budget: BudgetOption = None,
    task_runner: RunnerOption = None,
    engine: EngineOption = "prefect",
    json_output: JsonOption = False,
) -> None:
    """Run a pipeline: one of the catalog, or one in a file.

    Values are read as the types that the pipeline declares: lists as a,b or JSON, mappings as JSON.

    Examples:

      braid run ingest -p source=manuals -p pattern='**/*.md' --index manuals

      braid run ./my_pipeline.yaml -p limit=10 --max-workers 4

      braid run my_pipeline.yaml --engine inline --json | jq .status
    """
    execute(pipeline, read_parameters(parameter or ()), index=index, max_workers=max_workers, budget=budget,
            engine=engine, json_output=json_output, task_runner=task_runner)  # fmt: skip


def read_parameters(texts: list[str] | tuple[str, ...]) -> dict[str, str]:
    """`KEY=VALUE` texts as a mapping.

    Raises:
        InvalidParameters: one has no `=`, or a key is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidParameters(f"{text!r} is no parameter; write -p KEY=VALUE")
        if key in found:
            raise InvalidParameters(f"the parameter {key!r} is given twice")
        found[key] = value
    return found
