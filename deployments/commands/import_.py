"""`braid import`: a pipeline of another system as native YAML."""

from typing import Annotated

import typer

from deployments.catalog import load_catalog
from deployments.commands.common import JsonOption, emit, problem_json, reported, stderr
from deployments.runs import load_handlers, with_inputs
from deployments.settings import load_settings
from flows.loaders import dump_pipeline, load_pipeline, pipeline_data


@reported
def import_pipeline(
    file: Annotated[str, typer.Argument(metavar="FILE", help="A YAML or JSON file in any dialect.")],
    json_output: JsonOption = False,
) -> None:
    """Print a pipeline of any dialect in native form, with the defaults of its system written out.

    Inputs of HPD pipelines become parameters, as far as their handlers are known.

    The dialect is recognised by the content of the file. Such files also run as they are; nothing has to be converted.

    Examples:

      braid import chain.yaml > pipelines/chain.yaml

      braid run chain.yaml
    """
    settings = load_settings()
    load_handlers(settings)
    loaded = with_inputs(load_pipeline(file), load_catalog(settings).pipelines)
    for warning in loaded.warnings:
        stderr().print(f"warning: {warning}", style="yellow", markup=False)
    if json_output:
        warnings = [problem_json(problem) for problem in loaded.warnings]
        emit({"dialect": loaded.dialect, "pipeline": pipeline_data(loaded.pipeline), "warnings": warnings})
        return
    typer.echo(dump_pipeline(loaded.pipeline, policies=True), nl=False)
