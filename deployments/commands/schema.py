"""`braid schema`: the JSON Schema of pipeline files, for editors."""

from deployments.commands.common import JsonOption, emit, reported


@reported
def schema(json_output: JsonOption = False) -> None:
    """Print the JSON Schema of pipeline files; editors complete and check YAML with it.

    Example, for VS Code and others that use the YAML language server:

      braid schema > pipeline.schema.json

      # then as the first line of a pipeline: # yaml-language-server: $schema=pipeline.schema.json
    """
    from flows.loaders import pipeline_schema

    del json_output  # it is JSON either way
    emit(pipeline_schema())
