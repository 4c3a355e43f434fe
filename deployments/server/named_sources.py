"""Named sources in the form of an ingestion: its field `source` lists their names and accepts a name or a place."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from deployments.runs import INGESTIONS
from deployments.settings import Settings
from deployments.source_file import load_sources
from flows.errors import OrchestrationError
from flows.loaders import LoadedPipeline
from flows.translator import INDEX

_FIELD = "source"
_NAMED = 20


def offering_sources(loaded: LoadedPipeline, settings: Settings) -> LoadedPipeline:
    """The pipeline; if it is an ingestion, its form lists the names that `source` accepts besides places."""
    pipeline = loaded.pipeline
    field = pipeline.parameters.get(_FIELD)
    try:
        names = sorted(load_sources(settings))
    except OrchestrationError:  # `braid deploy` reports this error; a run with a place does not need the names
        return loaded
    if pipeline.name not in INGESTIONS or field is None or not names:
        return loaded
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    offered = f"{field.description.rstrip('.')}; or one of sources.yaml: {', '.join(names[:_NAMED])}{more}."
    described = field.model_copy(update={"description": offered})
    parameters = {**pipeline.parameters, _FIELD: described}
    return replace(loaded, pipeline=pipeline.model_copy(update={"parameters": parameters}))


def with_named_source(loaded: LoadedPipeline, given: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The values of a form; if `source` is a name, missing values come from sources.yaml.

    Raises:
        InvalidPipeline: sources.yaml cannot be read.
    """
    name, declared = given.get(_FIELD), loaded.pipeline.parameters
    if loaded.pipeline.name not in INGESTIONS or not isinstance(name, str) or "/" in name:
        return dict(given)
    known = load_sources(settings).get(name)
    if known is None:
        return dict(given)
    values = {**given, _FIELD: known.entry.place}
    defaults = {each: parameter.default for each, parameter in declared.items()} | {INDEX.name: INDEX.default}
    for each, value in {**known.parameters, INDEX.name: known.index}.items():
        if values.get(each, defaults.get(each)) == defaults.get(each):
            values[each] = value
    return values
