"""A request for one run: which pipeline, with which parameters, under which limits, and how it is run."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from flows.loaders import LoadedPipeline
from flows.model import INDEX, InvalidParameters, Pipeline, Policy, declares_index, index_of
from flows.planning import Limit
from flows.running import Engine

if TYPE_CHECKING:
    from flows.run_store import RunRecord

DEFAULT_INDEX = "default"
TaskRunner: TypeAlias = Literal["threads", "dask", "ray"]


@dataclass(frozen=True)
class Request:
    """One run as a command, a form or a Python call asks for it; the settings fill in the rest."""

    loaded: LoadedPipeline
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields that steps read and that the pipeline does not declare as parameters."""
    index: str = DEFAULT_INDEX
    """The parameter `index`, in a pipeline that declares it."""
    ceiling: Limit | None = None
    """The most steps at once in the whole run, and where that is set."""
    budget: Mapping[str, float] = field(default_factory=dict[str, float])
    """The most that the run may use, by unit."""
    policy: Policy | None = None
    """For parallel groups that declare none."""
    task_runner: TaskRunner | None = None
    """Where sync handlers run."""
    engine: Engine = "prefect"
    """As a Prefect flow with a task run per step, or by direct calls."""
    resumes: "RunRecord | None" = None
    """The earlier run that this one continues: steps that succeeded there are not run again."""
    force: bool = False
    """With `resumes`: run finished steps again that no longer fit the pipeline, instead of refusing to resume."""
    recorded: bool = True
    """Whether the run store keeps the run."""

    def __post_init__(self) -> None:
        """One index: the parameter and the index of the request are the same.

        Raises:
            InvalidParameters: both are given, and they differ.
        """
        if not declares_index(self.pipeline):
            return
        given = self.parameters.get(INDEX)
        if given is None and self.index != DEFAULT_INDEX:
            object.__setattr__(self, "parameters", {**self.parameters, INDEX: self.index})
        elif given is not None and self.index not in (DEFAULT_INDEX, given):
            raise InvalidParameters(
                f"the run has two indexes, {self.index!r} and the parameter index={given}; give one of them"
            )
        else:
            values = {INDEX: given or self.pipeline.parameters[INDEX].default}
            object.__setattr__(self, "index", index_of(self.pipeline, values, otherwise=self.index))

    @property
    def pipeline(self) -> Pipeline:
        return self.loaded.pipeline
