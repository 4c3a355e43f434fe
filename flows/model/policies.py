"""The small rules of a step: how a group reacts to failure, how a step is retried, how results are merged and split."""

from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from flows.model.shares import parse_percentage, share_of
from flows.model.short_forms import snake_case


class FrozenModel(BaseModel):
    """A model that cannot be changed and refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True, validate_default=True)


class MinSuccess(FrozenModel):
    """The group succeeds if at least `min` branches succeed."""

    min: int = Field(ge=0, description="How many branches must succeed at least.")


class MinRatio(FrozenModel):
    """The group succeeds if at least this share of its branches succeeds."""

    ratio: float = Field(ge=0.0, le=1.0, description="Which share of the branches must succeed at least, 0.0 to 1.0.")


BranchFailure: TypeAlias = Literal["cancel", "drain", "continue"]
SuccessWhen: TypeAlias = Literal["all", "any", "always"] | MinSuccess | MinRatio
MergeWhenFailed: TypeAlias = Literal["nothing", "successful"]
RunWhenFailed: TypeAlias = Literal["partial", "failed"]


class Policy(FrozenModel):
    """The effect of a failed branch on its siblings, on the success of the group, and on the merge."""

    on_branch_failure: BranchFailure = Field(
        default="continue", description="Siblings of a failed branch: stop them, start no new ones, or let all finish."
    )
    success_when: SuccessWhen = Field(default="all", description="When the group counts as succeeded.")
    merge_when_failed: MergeWhenFailed = Field(
        default="nothing", description="Which branches are merged if not all of them succeeded."
    )
    run_when_failed: RunWhenFailed = Field(
        default="partial", description="The status of a run that went on although a branch failed."
    )

    @model_validator(mode="before")
    @classmethod
    def _from_preset(cls, value: Any) -> Any:
        if isinstance(value, str):
            preset = PRESETS.get(_policy_name(value))
            if preset is None:
                raise ValueError(
                    f"unknown policy {value!r}; known are: {', '.join([*PRESETS, 'minimum_threshold: n'])}"
                )
            return preset.model_dump()
        if isinstance(value, dict) and len(value) == 1:  # pyright: ignore[reportUnknownArgumentType]
            ((key, least),) = value.items()  # pyright: ignore[reportUnknownVariableType]
            if _policy_name(str(key)) == "minimum_threshold":  # pyright: ignore[reportUnknownArgumentType]
                return minimum_threshold(least).model_dump()  # pyright: ignore[reportUnknownArgumentType]
        return value  # pyright: ignore[reportUnknownVariableType]

    def satisfied(self, succeeded: int, counted: int) -> bool:
        """Whether the group succeeds with `succeeded` of `counted` branches; skipped branches are not counted."""
        match self.success_when:
            case "always":
                return True
            case "all":
                return succeeded == counted
            case "any":
                return succeeded > 0 or counted == 0
            case MinSuccess(min=least):
                return succeeded >= least
            case MinRatio(ratio=ratio):
                return succeeded >= share_of(ratio, counted)

    @property
    def name(self) -> str:
        """The name of the preset if it is one, else its fields joined by `/`."""
        for name, preset in PRESETS.items():
            if self == preset:
                return name
        if isinstance(self.success_when, MinSuccess) and self == minimum_threshold(self.success_when.min):
            return f"minimum_threshold: {self.success_when.min}"
        rule = self.success_when if isinstance(self.success_when, str) else str(self.success_when)
        run = "" if self.run_when_failed == "partial" else f"/run {self.run_when_failed}"
        return f"{self.on_branch_failure}/{rule}/{self.merge_when_failed}{run}"


def minimum_threshold(least: int) -> Policy:
    """All branches run, at least `least` must succeed (-1: all of them), and the successful ones are merged."""
    when: SuccessWhen = "all" if least == -1 else MinSuccess(min=least)
    return Policy(on_branch_failure="continue", success_when=when, merge_when_failed="successful")


class Retry(FrozenModel):
    """How often and how fast a step is tried again after a transient failure; fatal failures are never retried."""

    max_attempts: int = Field(default=1, ge=1, description="Attempts in total, the first included.")
    delay_s: float = Field(default=1.0, ge=0.0, description="Seconds before the second attempt.")
    backoff: Literal["constant", "linear", "exponential"] = Field(
        default="exponential", description="How the delay grows from one attempt to the next."
    )
    max_delay_s: float = Field(default=300.0, ge=0.0, description="The longest delay; Retry-After may exceed it.")
    jitter: float = Field(default=0.0, ge=0.0, le=1.0, description="Share of the delay that is added at random.")
    attempt_timeout_s: float | None = Field(default=None, gt=0.0, description="Seconds that one attempt may take.")

    def delay_before(self, attempt: int, *, retry_after_s: float | None = None, random: float = 0.0) -> float:
        """Seconds to wait before attempt number `attempt` (2 is the first retry).

        If the service asked for a delay (`retry_after_s`), that is the delay. `random` in [0, 1) scales the jitter.
        """
        if retry_after_s is not None:
            return max(0.0, retry_after_s)
        earlier = attempt - 2
        factor = {"constant": 1.0, "linear": float(earlier + 1), "exponential": 2.0 ** min(earlier, 60)}[self.backoff]
        return min(self.delay_s * factor, self.max_delay_s) * (1.0 + self.jitter * random)


class Tolerance(FrozenModel):
    """How many items of a `for_each` may fail; if more do, no new item is started and the step fails."""

    count: int | None = Field(default=None, ge=0, description="How many failed items are tolerated.")
    ratio: float | None = Field(default=None, ge=0.0, le=1.0, description="Which share of failed items is tolerated.")
    run_when_failed: RunWhenFailed = Field(
        default="partial", description="The status of a run that went on although an item failed."
    )

    @model_validator(mode="before")
    @classmethod
    def _short_form(cls, value: Any) -> Any:
        if isinstance(value, bool):
            raise ValueError("write a number of items or a share such as '5%'")
        if isinstance(value, int):
            return {"count": value}
        if isinstance(value, float):
            return {"ratio": value}
        if isinstance(value, str) and (ratio := parse_percentage(value)) is not None:
            return {"ratio": ratio}
        return value

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.count is not None and self.ratio is not None:
            raise ValueError("give either a count or a ratio, not both")
        return self

    def exceeded(self, failed: int, total: int) -> bool:
        """Whether `failed` of `total` items are too many; without a limit no item may fail."""
        return failed > (share_of(self.ratio, total) if self.ratio is not None else (self.count or 0))


class Merge(FrozenModel):
    """How a group makes one named result of its branches' results."""

    strategy: str = Field(default="collect_all", description="A registered merge strategy.")
    output: str | None = Field(default=None, description="The field that receives the result; default: the step's id.")
    options: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the strategy.")


class Split(FrozenModel):
    """How a list is divided among the branches of a group."""

    strategy: str = Field(
        default="duplicate", description="duplicate, round_robin, chunk, hash_by, or a registered one."
    )
    over: str = Field(description="The field that holds the list; each branch sees its share under that name.")
    options: dict[str, Any] = Field(default_factory=dict, description="Keyword arguments of the strategy.")


def _full_merge(value: Any) -> Any:
    return {"strategy": value} if isinstance(value, str) else value


MergeRule: TypeAlias = Annotated[Merge, BeforeValidator(_full_merge)]


def _policy_name(name: str) -> str:
    return snake_case(name).replace("-", "_")


PRESETS: dict[str, Policy] = {
    "all_or_nothing": Policy(),
    "fail_fast": Policy(on_branch_failure="cancel"),
    "best_effort": Policy(success_when="always", merge_when_failed="successful"),
    "keep_going": Policy(success_when="always", merge_when_failed="successful", run_when_failed="failed"),
}
