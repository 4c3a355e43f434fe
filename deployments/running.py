"""Runs pipelines from Python with the settings: index, services, run store and catalog."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from deployments.catalog import Catalog, load_catalog
from deployments.runs import Request, arun_pipeline, load_handlers, run_pipeline
from deployments.server.services import all_services
from deployments.settings import Settings, load_settings
from flows.author import RunResult
from flows.errors import UnknownName
from flows.loaders import LoadedPipeline
from flows.model import InvalidParameters
from flows.planning import Limit
from flows.running import Engine, PipelineLike, find_pipeline, join_parameters
from flows.state import Services


def run(
    pipeline: PipelineLike,
    parameters: Mapping[str, Any] | None = None,
    /,
    *,
    index: str = "default",
    engine: Engine = "inline",
    record: bool = True,
    services: Mapping[str, Any] | None = None,
    max_concurrency: int | None = None,
    settings: Settings | None = None,
    **given: Any,
) -> RunResult:
    """Run a pipeline to its end, as `flows.run` does: `run("ingest", source="manuals", index="manuals")`.

    Names are looked up in the catalog. Handlers get the services of the index and those in `services`, whose objects
    stay open. With `record`, the run is recorded in the run store, so that `braid runs` shows it and `braid resume` can
    continue it. `settings` default to those of the environment.

    Raises:
        InvalidParameters: a parameter is missing, unknown or of the wrong type.
        InvalidPipeline: the pipeline cannot run; the message lists all its mistakes.
        InvalidSettings: a setting cannot be used, or the index has an impossible name.
        UnknownName: no pipeline has that name.
    """
    chosen = settings or load_settings()
    setup = _Setup(chosen, load_catalog(chosen), index, engine, record, max_concurrency)
    request = setup.request(pipeline, join_parameters(parameters, given))
    with setup.services(request.index, services) as opened:
        return run_pipeline(request, settings=chosen, catalog=setup.catalog, services=opened)


async def arun(
    pipeline: PipelineLike,
    parameters: Mapping[str, Any] | None = None,
    /,
    *,
    index: str = "default",
    engine: Engine = "inline",
    record: bool = True,
    services: Mapping[str, Any] | None = None,
    max_concurrency: int | None = None,
    settings: Settings | None = None,
    **given: Any,
) -> RunResult:
    """As `run`, for async code: `result = await arun("search", query="leap seconds", index="manuals")`.

    When the caller is cancelled, the run is stopped, and its finished steps stay recorded.
    """
    chosen = settings or load_settings()
    setup = _Setup(chosen, load_catalog(chosen), index, engine, record, max_concurrency)
    request = setup.request(pipeline, join_parameters(parameters, given))
    with setup.services(request.index, services) as opened:
        return await arun_pipeline(request, settings=chosen, catalog=setup.catalog, services=opened)


@dataclass(frozen=True)
class _Setup:
    """The settings, and the options of one call."""

    settings: Settings
    catalog: Catalog
    index: str
    engine: Engine
    record: bool
    max_concurrency: int | None

    def request(self, pipeline: PipelineLike, given: Mapping[str, Any]) -> Request:
        """The request; values that the pipeline does not declare as parameters are fields that its steps read."""
        if self.max_concurrency is not None and self.max_concurrency < 1:
            raise InvalidParameters(f"max_concurrency must be 1 or more, not {self.max_concurrency}")
        load_handlers(self.settings)
        loaded = self._find(pipeline)
        declared = loaded.pipeline.parameters
        return Request(
            loaded,
            {name: value for name, value in given.items() if name in declared},
            fields={name: value for name, value in given.items() if name not in declared},
            index=self.index,
            ceiling=None if self.max_concurrency is None else Limit(self.max_concurrency, "max_concurrency of the run"),
            engine=self.engine,
            recorded=self.record,
        )

    def _find(self, pipeline: PipelineLike) -> LoadedPipeline:
        if isinstance(pipeline, str):
            try:
                return self.catalog.find(pipeline)
            except UnknownName:  # it may be a template
                pass
        return find_pipeline(pipeline, self.catalog.pipelines)

    @contextmanager
    def services(self, index: str, objects: Mapping[str, Any] | None) -> Iterator[Services]:
        services = all_services(self.settings, index).with_objects(objects or {})
        try:
            yield services
        finally:
            services.close()
