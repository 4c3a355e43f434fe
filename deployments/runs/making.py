"""How a run makes documents: its pipeline and parameters, by which `braid index prove` makes them afresh."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flows.model import INDEX, Pipeline, is_secret_name

if TYPE_CHECKING:
    from handlers.ingestion import Making

SELECTING = frozenset({"redo", "stale", "only_step", "force", "retry_failed", "strict"})
"""Fields that only select the work to repeat; no effect depends on them."""
_OF_ONE_RUN = SELECTING | {INDEX, "source", "prune", "max_prune_share"}


def making_by(pipeline: Pipeline, fields: Mapping[str, Any]) -> "Making":
    """How a run of a pipeline with these fields makes documents; secrets are left out."""
    from handlers.ingestion import Making

    parameters = {
        name: fields[name]
        for name, declared in pipeline.parameters.items()
        if name in fields and name not in _OF_ONE_RUN and not is_secret_name(name) and fields[name] != declared.default
    }
    return Making(pipeline.name, parameters)
