"""Merge strategies make one named result of a group; split strategies divide a list among its branches."""

import inspect
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar, cast

from flows.author.ranks import fuse_by_key
from flows.errors import FatalError, OrchestrationError, UnknownName, message_of
from flows.state import Services, fingerprint


@dataclass(frozen=True)
class BranchResult:
    """The result of one branch; strategies get them in declared order."""

    branch: str
    succeeded: bool
    value: Any = None
    error: str | None = None
    quality: float | None = None
    finished: int = 0
    """1 for the branch that succeeded first, 2 for the second, and so on; 0 if it did not succeed."""


class NothingToMerge(FatalError):
    """The strategy needs a successful branch, but every branch failed."""


MergeStrategy: TypeAlias = Callable[..., Any]
SplitStrategy: TypeAlias = Callable[..., Sequence[Sequence[Any]]]
Function = TypeVar("Function", bound=Callable[..., Any])

MERGE_STRATEGIES: dict[str, MergeStrategy] = {}
SPLIT_STRATEGIES: dict[str, SplitStrategy] = {}
COMBINERS: dict[str, Callable[..., Any]] = {}
"""Functions by the kind of value that they combine, or by another name: `function(values)`, or
`function(values, services)` for values that are files; the latter is called in a thread."""
RACES = frozenset({"fastest_success"})
"""Strategies that need only one success; the group then cancels the other branches."""


def merge_strategy(name: str) -> Callable[[Function], Function]:
    """Register `function(results: Sequence[BranchResult], **options)` as a merge strategy."""

    def register(function: Function) -> Function:
        MERGE_STRATEGIES[name] = function
        return function

    return register


def split_strategy(name: str) -> Callable[[Function], Function]:
    """Register `function(items, branches: int, **options)`, which returns one list of items per branch."""

    def register(function: Function) -> Function:
        SPLIT_STRATEGIES[name] = function
        return function

    return register


def merge_results(strategy: str, results: Sequence[BranchResult], options: Mapping[str, Any]) -> Any:
    """The one result of a group, or a `DeferredCombination` that makes it.

    Raises:
        UnknownName: the strategy is not registered.
        NothingToMerge: the strategy needs a success, but there is none.
        FatalError: the options do not fit the strategy, or it raised another error.
    """
    if strategy not in MERGE_STRATEGIES:
        raise UnknownName("merge strategy", strategy, MERGE_STRATEGIES)
    try:
        return MERGE_STRATEGIES[strategy](results, **options)
    except OrchestrationError:
        raise
    except Exception as error:  # a user's strategy may raise any error
        raise FatalError(_strategy_failure("merge", strategy, options, error)) from error


def split_items(strategy: str, items: Sequence[Any], branches: int, options: Mapping[str, Any]) -> list[list[Any]]:
    """One list of items per branch.

    Raises:
        UnknownName: the strategy is not registered.
        FatalError: the options do not fit the strategy, or it raised another error.
    """
    if strategy not in SPLIT_STRATEGIES:
        raise UnknownName("split strategy", strategy, SPLIT_STRATEGIES)
    try:
        shares = [list(share) for share in SPLIT_STRATEGIES[strategy](items, branches, **options)]
    except OrchestrationError:
        raise
    except Exception as error:  # a user's strategy may raise any error
        raise FatalError(_strategy_failure("split", strategy, options, error)) from error
    if len(shares) != branches:
        raise OrchestrationError(f"split strategy {strategy!r} returned {len(shares)} shares for {branches} branches")
    return shares


def _strategy_failure(kind: str, strategy: str, options: Mapping[str, Any], error: Exception) -> str:
    reason = f"{type(error).__name__}: {message_of(error)}"
    return f"the {kind} strategy {strategy!r} failed with options {dict(options)}: {reason}"


def _successes(results: Sequence[BranchResult]) -> list[BranchResult]:
    return [result for result in results if result.succeeded]


def _first_success(results: Sequence[BranchResult]) -> BranchResult:
    found = _successes(results)
    if not found:
        raise NothingToMerge("No successful results")
    return found[0]


@merge_strategy("collect_all")
def collect_all(results: Sequence[BranchResult]) -> dict[str, Any]:
    """All results: `success`, `outputs` of the branches that succeeded, `errors` of the others."""
    errors = [{"branch": result.branch, "error": result.error} for result in results if not result.succeeded]
    return {"success": not errors, "outputs": [result.value for result in _successes(results)], "errors": errors}


@merge_strategy("by_name")
def by_name(results: Sequence[BranchResult]) -> dict[str, Any]:
    """The results of the branches that succeeded, each under the name of its branch."""
    return {result.branch: result.value for result in _successes(results)}


@merge_strategy("first_success")
def first_success(results: Sequence[BranchResult]) -> Any:
    """The result of the first successful branch in declared order."""
    return _first_success(results).value


@merge_strategy("fastest_success")
def fastest_success(results: Sequence[BranchResult]) -> Any:
    """The result of the branch that succeeded first; the group cancels the others. Only this strategy needs timing."""
    _first_success(results)
    return min(_successes(results), key=lambda result: result.finished).value


@merge_strategy("best_quality")
def best_quality(results: Sequence[BranchResult], *, score: str | None = None, higher_is_better: bool = True) -> Any:
    """The result of the highest quality; ties go to the branch declared first.

    The quality is the handler's declared score, or the value in each result under the key that `score` names.
    """
    _first_success(results)

    def quality(result: BranchResult) -> float:
        value = _value_at(result.value, score) if score else result.quality
        if value is None:
            raise FatalError(
                f"best_quality: branch {result.branch!r} has no score; declare @handler(quality=…) or the option "
                "`score`, the key of the result that holds it"
            )
        return float(value) if higher_is_better else -float(value)

    return max(_successes(results), key=quality).value


@merge_strategy("combine_outputs")
def combine_outputs(results: Sequence[BranchResult], *, combiner: str | None = None) -> Any:
    """All successful results as one: texts joined, lists concatenated (lists of scored items fused), mappings united.

    `combiner` names another way. The combiners for kinds of files are in `handlers/content/combining.py`.
    """
    _first_success(results)
    values = [result.value for result in _successes(results)]
    kinds = sorted({_value_kind(value) for value in values})
    if combiner is None and len(kinds) > 1:
        raise FatalError(f"Cannot merge different output types: {kinds}")
    name = combiner or kinds[0]
    if name not in COMBINERS:
        raise UnknownName("combiner", name, COMBINERS)
    combine = COMBINERS[name]
    return (
        DeferredCombination(combine, values) if "services" in inspect.signature(combine).parameters else combine(values)
    )


@dataclass(frozen=True)
class DeferredCombination:
    """A combination that is still to be made, in a thread, since it needs services and time."""

    combine: Callable[[Sequence[Any], Services], Any]
    values: Sequence[Any]


@merge_strategy("union")
def union(results: Sequence[BranchResult], *, key: str = "id") -> list[Any]:
    """The items of all successful lists, one per key; the item of the branch declared first is kept."""
    united: dict[Any, Any] = {}
    for result in _successes(results):
        for item in result.value or ():
            united.setdefault(_value_at(item, key), item)
    return list(united.values())


@merge_strategy("reciprocal_rank_fusion")
def fuse_ranks(
    results: Sequence[BranchResult], *, k: int = 60, key: str = "id", weights: Mapping[str, float] | None = None
) -> list[Any]:
    """The items of ranked lists, best first; `weights` by branch, 1 where none is given. See `reciprocal_ranks`."""
    rankings = {result.branch: list(result.value or ()) for result in _successes(results)}
    unknown = sorted((weights or {}).keys() - {result.branch for result in results})
    if unknown:
        raise UnknownName("branch", unknown[0], [result.branch for result in results], where="weights")
    chosen = [(weights or {}).get(branch, 1.0) for branch in rankings]
    try:
        return fuse_by_key(list(rankings.values()), lambda item: _value_at(item, key), k=k, weights=chosen)
    except ValueError as error:
        raise FatalError(f"reciprocal_rank_fusion: {error}") from error


@merge_strategy("majority")
def majority(results: Sequence[BranchResult]) -> Any:
    """The most frequent value of the successful branches; ties go to the value declared first."""
    _first_success(results)
    votes: dict[str, list[Any]] = {}
    for result in _successes(results):
        votes.setdefault(fingerprint(result.value), []).append(result.value)
    return max(votes.values(), key=len)[0]


def _value_at(item: Any, key: str) -> Any:
    if isinstance(item, Mapping):
        return cast("Mapping[str, Any]", item).get(key)
    return getattr(item, key, item)


def _value_kind(value: Any) -> str:
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return "mapping"
    if isinstance(value, (list, tuple)):
        items = cast("Sequence[Any]", value)
        return "ranking" if items and all(_has_score(item) for item in items) else "list"
    return type(cast("object", value)).__name__


def _has_score(item: Any) -> bool:
    """Whether an item has an id and a score, as the items of a ranking have."""
    if isinstance(item, Mapping):
        return "id" in item and "score" in item
    return hasattr(item, "id") and hasattr(item, "score")


def _fuse_rankings(values: Sequence[Sequence[Any]]) -> list[Any]:
    """Fuse ranked lists by reciprocal ranks; an item is the same in all of them if its `id` is."""
    return fuse_by_key(values, lambda item: _value_at(item, "id"))


def _unite_mappings(values: Sequence[Any]) -> dict[Any, Any]:
    return {key: item for value in values for key, item in value.items()}


def _join_texts(values: Sequence[str]) -> str:
    return "\n\n".join(values)


def _concatenate_lists(values: Sequence[Sequence[Any]]) -> list[Any]:
    return [item for value in values for item in value]


COMBINERS["text"] = _join_texts
COMBINERS["list"] = _concatenate_lists
COMBINERS["mapping"] = _unite_mappings
COMBINERS["ranking"] = _fuse_rankings


@split_strategy("duplicate")
def duplicate(items: Sequence[Any], branches: int) -> list[list[Any]]:
    """Every branch gets all items."""
    return [list(items) for _ in range(branches)]


@split_strategy("round_robin")
def round_robin(items: Sequence[Any], branches: int) -> list[list[Any]]:
    """Every branch gets items in turn: of 10 items, 3 branches get 4, 3 and 3."""
    return [list(items[start::branches]) for start in range(branches)]


@split_strategy("chunk")
def chunk(items: Sequence[Any], branches: int) -> list[list[Any]]:
    """Every branch gets neighbouring items; sizes are as equal as possible, larger ones first."""
    size, extra = divmod(len(items), branches)
    starts = [branch * size + min(branch, extra) for branch in range(branches + 1)]
    return [list(items[starts[branch] : starts[branch + 1]]) for branch in range(branches)]


@split_strategy("hash_by")
def hash_by(items: Sequence[Any], branches: int, *, key: str = "id") -> list[list[Any]]:
    """Items with equal keys go to the same branch, in every process and run."""
    shares: list[list[Any]] = [[] for _ in range(branches)]
    for item in items:
        shares[zlib.crc32(fingerprint(_value_at(item, key)).encode()) % branches].append(item)
    return shares
