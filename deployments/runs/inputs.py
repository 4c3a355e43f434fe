"""Inputs of pipelines that cannot declare parameters, and conversion of values for steps.

Step lists of HPD and plain lists of handlers cannot declare parameters: their runs start with a filled context. Here,
every field that a step needs and no step writes becomes a parameter of such a pipeline. A folder or URL is replaced by
the listing of its files if a step reads source files.
"""

from collections.abc import Container, Mapping
from dataclasses import replace
from typing import Any, get_args

from flows.author import Call, ReadParameter, Registry
from flows.errors import InvalidPipeline
from flows.loaders import LoadedPipeline
from flows.model import Parameter, Pipeline
from flows.planning import Plan, make_plan, open_reads
from flows.state import Identity, Services

_TYPES: Mapping[Any, str] = {str: "text", int: "integer", float: "number", bool: "boolean"}


def with_inputs(
    loaded: LoadedPipeline,
    catalog: Mapping[str, Pipeline],
    registry: Registry | None = None,
    *,
    fields: Container[str] = (),
) -> LoadedPipeline:
    """The pipeline with a required parameter for each field that its steps need, if its dialect cannot declare them.

    `fields` are those that the run starts with anyway.
    """
    if not loaded.open_inputs:
        return loaded
    try:
        plan = make_plan(loaded.pipeline, registry=registry, catalog=catalog)
    except InvalidPipeline:
        return loaded  # the planner reports its problems
    found = {read.name: _parameter(read) for read in open_reads(plan) if read.required and read.name not in fields}
    if not found:
        return loaded
    pipeline = loaded.pipeline.model_copy(update={"parameters": {**loaded.pipeline.parameters, **found}})
    return replace(loaded, pipeline=pipeline)


def bound_values(plan: Plan, values: Mapping[str, Any], services: Services, index: str) -> dict[str, Any]:
    """The values that a run starts with; if steps read source files, a folder or URL becomes its listing."""
    listed = {
        leaf.reads[read.name] for leaf in plan.leaves for read in leaf.spec.reads or () if _is_listing(read.annotation)
    }
    bound = dict(values)
    for name in listed & bound.keys():
        where = bound[name]
        if isinstance(where, list) and len(where) == 1:  # pyright: ignore[reportUnknownArgumentType]
            where = where[0]  # pyright: ignore[reportUnknownVariableType]  (a parameter that is declared as a list)
        if isinstance(where, str):
            from handlers.sources import list_sources

            bound[name] = list_sources(where, call=Call(identity=Identity(index=index, services=services)))
    return bound


def _parameter(read: ReadParameter) -> Parameter:
    if _is_listing(read.annotation):
        return Parameter(required=True, description="The folder, file or URL of the documents.")
    kind = _TYPES.get(read.annotation, "text")
    return Parameter.model_validate({"type": kind, "required": True, "description": "Read by the steps."})


def _is_listing(annotation: Any) -> bool:
    from handlers.records import SourceFile

    return SourceFile in get_args(annotation)
