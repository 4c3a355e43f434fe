"""The recursive step model: the declarations of a pipeline author, as frozen values.

YAML, the builder and plain lists all become these models, so the three spellings of one pipeline compare equal. The
models themselves read the short forms (`flows.model.short_forms`).
"""

from collections.abc import Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import AfterValidator, AliasChoices, BeforeValidator, Field, PositiveFloat, model_validator

from flows.model.expectations import Expectation
from flows.model.limits import Resource, RetryBudget
from flows.model.outputs import Outputs
from flows.model.parameters import Parameter
from flows.model.policies import FrozenModel, MergeRule, Policy, Retry, Split, Tolerance
from flows.model.short_forms import full_step

MAX_CONCURRENCY_NAMES = ("max_concurrency", "max_workers", "MaxConcurrency", "max_parallel")
NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.\-]*$"


def _at_least_one(limit: Any) -> Any:
    if isinstance(limit, int) and not isinstance(limit, bool) and limit < 1:
        raise ValueError("must be 1 or more; write `unlimited` for no limit")
    return limit


MaxConcurrency: TypeAlias = Annotated[int | Literal["unlimited"] | None, AfterValidator(_at_least_one)]


class StepFields(FrozenModel):
    """The fields that every step has."""

    id: str | None = Field(
        default=None, pattern=NAME_PATTERN, description="Unique in the pipeline; default: path and handler."
    )
    name: str | None = Field(default=None, description="Shown to people instead of the id.")
    enabled: bool = Field(default=True, description="A step that is not enabled is reported as skipped.")
    when: str | None = Field(default=None, description="A condition over the context; the step is skipped when false.")
    depends_on: tuple[str, ...] = Field(
        default=(), description="Ids of steps that must have ended before this one starts."
    )
    timeout_s: float | None = Field(default=None, gt=0.0, description="Seconds the step may take, retries included.")
    retry: Retry | None = Field(default=None, description="How the step is tried again after a transient failure.")


class Handler(StepFields):
    """One call of one registered handler."""

    type: Literal["handler"] = "handler"
    handler: str = Field(min_length=1, description="The registered name of the handler.")
    options: dict[str, Any] = Field(default_factory=dict, description="The handler's keyword-only parameters.")
    reads: dict[str, str] = Field(default_factory=dict, description="Parameter name: the field it is read from.")
    writes: dict[str, str] = Field(default_factory=dict, description="Declared write: the field it is written to.")
    uses: tuple[str, ...] = Field(default=(), description="Named resources whose limits the call respects.")
    expected_tokens: int = Field(
        default=0, ge=0, description="Tokens to count for tokens_per_minute until the call reports how many it used."
    )
    expect: Expectation | None = Field(
        default=None,
        description="Conditions on the fields it writes, checked before the next step starts, as {passages: {min: 1}}.",
    )


class Parallel(StepFields):
    """Branches that run at the same time, each isolated, merged in declared order."""

    type: Literal["parallel"] = "parallel"
    branches: tuple["Step", ...] = Field(
        validation_alias=AliasChoices("branches", "parallel"), description="Steps, or lists of steps."
    )
    max_concurrency: MaxConcurrency = Field(
        default=None,
        validation_alias=AliasChoices(*MAX_CONCURRENCY_NAMES),
        description="The most branches that run at once; a sliding window.",
    )
    policy: Policy = Field(default_factory=Policy, description="A preset, or the fields of a policy.")
    merge: MergeRule | None = Field(default=None, description="A strategy that makes one named result of the group.")
    split: Split | None = Field(default=None, description="How a list is divided among the branches.")
    reducers: dict[str, str] = Field(
        default_factory=dict, description="Field: how the branches' writes to it are combined."
    )

    if TYPE_CHECKING:  # here and in the other nesting steps, Python may use the same short forms as YAML

        def __init__(self, *, branches: "Sequence[StepLike]", **fields: Any) -> None: ...


class ForEach(StepFields):
    """The same steps for every item or batch of a list; items are isolated from each other."""

    type: Literal["for_each"] = "for_each"
    over: str = Field(description="The field that holds the list, or a dotted path to it.")
    as_: str = Field(
        default="item",
        validation_alias=AliasChoices("as", "as_"),
        serialization_alias="as",
        description="The name under which the steps see their item, or their batch.",
    )
    steps: tuple["Step", ...] = Field(min_length=1, description="The steps that run for every item or batch.")
    batch_size: Annotated[int, Field(ge=1)] | Literal["auto"] | None = Field(
        default=None,
        description="Items per batch; without it, items run singly. `auto` chooses when the loop begins, so that a "
        "call lasts about a second.",
    )
    max_concurrency: MaxConcurrency = Field(
        default=None,
        validation_alias=AliasChoices(*MAX_CONCURRENCY_NAMES),
        description="The most items or batches that run at once; a sliding window.",
    )
    max_items: int = Field(default=10_000, ge=1, description="The step fails at once if the list has more items.")
    tolerated_failure: Tolerance | None = Field(
        default=None, description="How many items may fail: a number or a share such as '5%'; default: none."
    )
    collect: dict[str, str] = Field(
        default_factory=dict,
        description="Field the steps write: the name of the field that receives the list of all items' values.",
    )
    collect_missing: Literal["null", "leave_out"] = Field(
        default="null",
        description="The entry for an item that failed or did not write the field: null, so that positions "
        "match the items, or no entry (leave_out).",
    )

    if TYPE_CHECKING:

        def __init__(self, *, over: str, steps: "Sequence[StepLike]", **fields: Any) -> None: ...

    @model_validator(mode="before")
    @classmethod
    def _collect_names(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("collect"), (list, tuple, str)):  # pyright: ignore
            names = [value["collect"]] if isinstance(value["collect"], str) else value["collect"]  # pyright: ignore
            if not any(isinstance(name, (list, dict)) for name in names):  # pyright: ignore[reportUnknownVariableType]
                return {**value, "collect": {name: name for name in names}}  # pyright: ignore
        return value  # pyright: ignore[reportUnknownVariableType]


class MergeResults(StepFields):
    """An explicit fan-in: the results of a named group, merged by a strategy."""

    type: Literal["merge_results"] = "merge_results"
    group: str | None = Field(
        default=None,
        validation_alias=AliasChoices("from", "source"),
        serialization_alias="from",
        description="The id of an earlier parallel or for_each step; its branches' results are merged.",
    )
    inputs: tuple[str, ...] = Field(default=(), description="Fields to merge, instead of a group's results.")
    strategy: str = Field(default="collect_all", description="A registered merge strategy.")
    output: str | None = Field(default=None, description="The field that receives the result; default: the step's id.")
    options: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the strategy.")


class Case(FrozenModel):
    """One branch of a switch."""

    when: str = Field(description="A condition over the context.")
    steps: tuple["Step", ...] = Field(
        min_length=1, description="The steps that run if this condition is the first that is true."
    )

    if TYPE_CHECKING:

        def __init__(self, *, when: str, steps: "Sequence[StepLike]") -> None: ...


class Switch(StepFields):
    """The first case whose condition holds runs; the others are reported as skipped."""

    type: Literal["switch"] = "switch"
    cases: tuple[Case, ...] = Field(
        min_length=1, validation_alias=AliasChoices("cases", "switch"), description="Tried in order."
    )
    default: tuple["Step", ...] = Field(default=(), description="The steps that run if no condition is true.")

    if TYPE_CHECKING:

        def __init__(
            self, *, cases: Sequence[Case | Mapping[str, Any]], default: "Sequence[StepLike]" = (), **fields: Any
        ) -> None: ...


class SubPipeline(StepFields):
    """Another pipeline by name, run as one step."""

    type: Literal["pipeline"] = "pipeline"
    pipeline: str = Field(min_length=1, description="The name of a pipeline in the catalog.")
    parameters: dict[str, Any] = Field(default_factory=dict, description="Values for its parameters.")


class Sequential(StepFields):
    """Several steps in order, as one: the branch of a parallel step that is written as a list."""

    type: Literal["sequential"] = "sequential"
    steps: tuple["Step", ...] = Field(min_length=1, description="In order.")

    if TYPE_CHECKING:

        def __init__(self, *, steps: "Sequence[StepLike]", **fields: Any) -> None: ...


Step: TypeAlias = Annotated[
    Annotated[
        Handler | Parallel | ForEach | MergeResults | Switch | SubPipeline | Sequential,
        Field(discriminator="type"),
    ],
    BeforeValidator(full_step),
]
StepLike: TypeAlias = "str | Step | Mapping[str, Any] | Sequence[StepLike]"
"""A handler's name, a step, the mapping of a step as in YAML, or a list of these that runs in order."""


class Pipeline(FrozenModel):
    """A whole pipeline: its parameters, limits, merge rules and steps."""

    name: str = Field(
        pattern=NAME_PATTERN, validation_alias=AliasChoices("name", "pipeline"), description="Unique in the catalog."
    )
    version: str = Field(default="1", description="Change it when the meaning of the pipeline changes.")
    description: str = Field(default="", description="One sentence; shown in the Prefect UI.")
    run_name: str | None = Field(
        default=None,
        description="The name of its runs in the Prefect UI, with templates of its parameters, `index` and `run_id`; "
        "default: the pipeline, its index if it uses one, and its source or question.",
    )
    mode: Literal["ordered", "dag"] = Field(
        default="ordered", description="`dag` starts a step as soon as the fields that it reads are written."
    )
    parameters: dict[str, Parameter] = Field(default_factory=dict, description="The values that a run can be given.")
    outputs: Outputs = Field(
        default=None,
        description="The result of a run: fields by name; default: the fields that no later step reads.",
    )
    max_concurrency: MaxConcurrency = Field(
        default=None,
        validation_alias=AliasChoices(*MAX_CONCURRENCY_NAMES),
        description="The most calls at once in the whole run, and the default of its groups.",
    )
    task_runner: Literal["threads", "dask", "ray"] = Field(
        default="threads", description="Where sync handlers run: in threads here, or on a Dask or Ray cluster."
    )
    timeout_s: float | None = Field(
        default=None, gt=0.0, description="Seconds a run may take, also as a step of another pipeline."
    )
    stuck_after_s: float | None = Field(
        default=None,
        gt=0.0,
        description="Seconds without progress after which a step is reported as stuck; default: from earlier runs.",
    )
    budget: dict[str, PositiveFloat] = Field(
        default_factory=dict,
        description="Unit: how much of it a run may use. After that, no new step starts. `seconds` is the run's time.",
    )
    retry: Retry | None = Field(default=None, description="The retry of steps that declare none.")
    retry_budget: RetryBudget | None = Field(default=None, description="How many retries the whole run may make.")
    reducers: dict[str, str] = Field(default_factory=dict, description="Field: how concurrent writes are combined.")
    resources: dict[str, Resource] = Field(default_factory=dict, description="Named limits that steps `use`.")
    steps: tuple[Step, ...] = Field(min_length=1, description="In order.")

    if TYPE_CHECKING:

        def __init__(self, *, name: str, steps: Sequence[StepLike], **fields: Any) -> None: ...


def child_steps(step: Step) -> tuple[Step, ...]:
    """The steps directly inside `step`, in declared order."""
    match step:
        case Parallel():
            return step.branches
        case ForEach() | Sequential():
            return step.steps
        case Switch():
            return tuple(inner for case in step.cases for inner in case.steps) + step.default
        case Handler() | MergeResults() | SubPipeline():
            return ()


def walk(steps: tuple[Step, ...]) -> Iterator[Step]:
    """Yield every step of a tree, parents before children, in declared order."""
    for step in steps:
        yield step
        yield from walk(child_steps(step))


def name_in(known: Container[str], name: str) -> str | None:
    """The name among `known` that `name` stands for: itself, else what follows `pipeline.`; None if neither is known.

    Jobs of stages name pipelines as `pipeline.NAME`, and a pipeline may itself be called so.
    """
    for wanted in (name, name.removeprefix("pipeline.")):
        if wanted in known:
            return wanted
    return None


def handler_name(function: Any) -> str | None:
    """The name under which `@handler` registered a function; None if it is no handler."""
    return getattr(getattr(function, "__braid__", None), "name", None)


def handler_names(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """The names of the handlers that the steps call, in declared order, with repetitions."""
    return tuple(step.handler for step in walk(steps) if isinstance(step, Handler))


def called_names(steps: tuple[Step, ...]) -> tuple[str, ...]:
    """The names that the steps call: those of pipelines, and those of handlers, since a job may name a pipeline."""
    return tuple(
        step.pipeline if isinstance(step, SubPipeline) else step.handler
        for step in walk(steps)
        if isinstance(step, SubPipeline | Handler)
    )


for _model in (Parallel, ForEach, Case, Switch, Sequential, Pipeline):
    _model.model_rebuild()
