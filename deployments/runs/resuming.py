"""Find an earlier run again: its record, its pipeline as it is now, and its parameters."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments.catalog import Catalog
from deployments.settings import Settings
from flows.errors import OrchestrationError, UnknownName
from flows.loaders import LoadedPipeline, load_pipeline_text
from flows.model import InvalidParameters

if TYPE_CHECKING:
    from flows.run_store import RunRecord

_LEFT_OUT = "***"


@dataclass(frozen=True)
class EarlierRun:
    """A run of the store, and what it takes to do it again."""

    record: "RunRecord"
    loaded: LoadedPipeline
    parameters: Mapping[str, Any]


def find_run(run: str, *, settings: Settings, catalog: Catalog, given: Mapping[str, Any]) -> EarlierRun:
    """The run whose id is, or begins with, `run`; `given` are parameters over those it had.

    The pipeline is read again from its file, so that what was mended there counts; if it is gone, as it was then.

    Raises:
        UnknownName: there is no such run.
        InvalidParameters: it had secrets, which are not recorded; they must be given again.
        OrchestrationError: its pipeline can neither be found nor read.
    """
    from flows.run_store import RunStore

    store = RunStore(settings.run_store_url)
    try:
        record = store.get(run)
        known = [one.run_id for one in store.recent(limit=200)] if record is None else []
    finally:
        store.close()
    if record is None:
        raise UnknownName("run", run, known)
    parameters = {**record.parameters, **given}
    hidden = [name for name, value in parameters.items() if _LEFT_OUT in json.dumps(value, default=str)]
    if hidden:
        raise InvalidParameters(
            f"run {record.run_id} had secrets in the parameters {', '.join(hidden)}, which are not recorded; "
            f"give them again: {' '.join(f'-p {name}=…' for name in hidden)}"
        )
    return EarlierRun(record, _pipeline(record, catalog), parameters)


def _pipeline(record: "RunRecord", catalog: Catalog) -> LoadedPipeline:
    if record.source is not None and Path(record.source).exists():
        return catalog.find(record.source)
    try:
        return catalog.find(record.pipeline)
    except UnknownName as error:
        if record.definition is None:
            raise OrchestrationError(
                f"run {record.run_id}: its pipeline {record.pipeline!r} was read from {record.source or 'Python'}, "
                "which is not there any more, and it could not be recorded"
            ) from error
    return load_pipeline_text(record.definition, source=f"run {record.run_id}")
