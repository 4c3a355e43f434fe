"""Find an earlier run again, and make the request that continues it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deployments.catalog import Catalog
from deployments.runs.opening import open_run_store
from deployments.runs.request import Request
from deployments.settings import Settings
from flows.errors import OrchestrationError, UnknownName
from flows.loaders import LoadedPipeline, load_pipeline_text
from flows.model import LEFT_OUT, InvalidParameters

if TYPE_CHECKING:
    from flows.run_store import RunRecord


def find_run(run: str, settings: Settings) -> "RunRecord":
    """The run whose id is, or begins with, `run`.

    Raises:
        AmbiguousRun: several ids begin with it.
        UnknownName: there is no such run.
    """
    with open_run_store(settings) as store:
        return store.find(run)


def request_to_resume(record: "RunRecord", *, catalog: Catalog, given: Mapping[str, Any]) -> Request:
    """The request that continues a run on its index; `given` are parameters that replace the recorded ones.

    The pipeline is read again from its file, so that corrections made there count. If the file is gone, the recorded
    pipeline is used.

    Raises:
        InvalidParameters: the run had secrets, which are not recorded; they must be given again.
        OrchestrationError: its pipeline can neither be found nor read.
    """
    parameters = {**record.parameters, **given}
    hidden = [name for name, value in parameters.items() if LEFT_OUT in json.dumps(value, default=str)]
    if hidden:
        raise InvalidParameters(
            f"run {record.run_id} had secrets in the parameters {', '.join(hidden)}, which are not recorded; "
            f"give them again: {' '.join(f'-p {name}=…' for name in hidden)}"
        )
    loaded = _pipeline(record, catalog)
    undeclared = {*record.parameters} - {*given} - {*loaded.pipeline.parameters}
    return Request(
        loaded,
        {name: value for name, value in parameters.items() if name not in undeclared},
        fields={name: parameters[name] for name in undeclared},
        index=record.index,
        resumes=record,
    )


def _pipeline(record: "RunRecord", catalog: Catalog) -> LoadedPipeline:
    if record.file is not None and Path(record.file).exists():
        return catalog.find(record.file)
    try:
        return catalog.find(record.pipeline)
    except UnknownName as error:
        if record.yaml is None:
            raise OrchestrationError(
                f"run {record.run_id}: its pipeline {record.pipeline!r} was read from {record.file or 'Python'}, "
                "which no longer exists, and it could not be recorded"
            ) from error
    from flows.run_store import SECRET_LEFT_OUT  # SQLAlchemy takes a while to import

    if record.yaml.startswith(SECRET_LEFT_OUT):
        raise OrchestrationError(
            f"run {record.run_id}: its pipeline had a secret in it, which is not recorded, and was read from "
            f"{record.file or 'Python'}, which no longer exists; put it back, and the secret into a parameter"
        )
    return load_pipeline_text(record.yaml, file=f"run {record.run_id}")
