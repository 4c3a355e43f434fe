"""`braid schema`: the JSON Schema of pipeline files, for editors."""

from typing import Annotated, Literal

import typer

from deployments.commands.common import JsonOption, emit, reported
from deployments.runs import load_handlers
from deployments.settings import load_settings
from flows.author import REGISTRY


@reported
def schema(
    dialect: Annotated[
        Literal["native", "hpd", "chain", "data", "stages"],
        typer.Option(help="The form of the files: Braid's own, or that of another system."),
    ] = "native",
    json_output: JsonOption = False,
) -> None:
    """Print the JSON Schema of pipeline files; editors complete and check YAML with it.

    It knows the handlers that are registered now, with their options: those of BRAID_HANDLER_MODULES, too.

    Example, for VS Code and others that use the YAML language server:

      braid schema > pipeline.schema.json

      # then as the first line of a pipeline: # yaml-language-server: $schema=pipeline.schema.json

      braid schema --dialect stages > stages.schema.json
    """
    from flows.loaders import add_handlers, dialect_schema, pipeline_schema

    del json_output  # it is JSON either way
    if dialect != "native":
        emit(dialect_schema(dialect))
        return
    load_handlers(load_settings())
    made = pipeline_schema()
    add_handlers(made, {name: (spec.summary, spec.options) for name, spec in REGISTRY.handlers.items()})
    emit(made)
