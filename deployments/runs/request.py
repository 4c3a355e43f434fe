"""A request for one run: the pipeline, its parameters, the limits, and the way to run it."""

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
    """One run, requested by a command, a form or a Python call; the settings supply missing values."""

    loaded: LoadedPipeline
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Fields that steps read and that the pipeline does not declare as parameters."""
    index: str = DEFAULT_INDEX
    """The parameter `index`, in a pipeline that declares it."""
    ceiling: Limit | None = None
    """The most concurrent steps in the whole run, and the origin of that limit."""
    budget: Mapping[str, float] = field(default_factory=dict[str, float])
    """The most that the run may use, by unit."""
    policy: Policy | None = None
    """The policy of parallel groups that declare none."""
    task_runner: TaskRunner | None = None
    """The place where sync handlers run."""
    engine: Engine = "prefect"
    """`prefect`: as a flow with a task run per step; `inline`: by direct calls."""
    resumes: "RunRecord | None" = None
    """The earlier run that this one continues; its successful steps are not run again."""
    force: bool = False
    """With `resumes`: run finished steps again that no longer fit the pipeline, instead of refusing to resume."""
    recorded: bool = True
    """Whether the run is recorded in the run store."""

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
