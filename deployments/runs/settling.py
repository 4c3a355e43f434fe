"""The balance at the end of an ingestion, for the index, the command line and a page of the run."""

import logging
from collections.abc import Callable

from deployments.runs.finishing import BuiltVersion, finish_version
from deployments.runs.making import making_by
from deployments.settings import Settings
from flows.author import Outcome, RunResult
from flows.model import StepPath
from flows.planning import Loop, Node, Plan, node_children

logger = logging.getLogger(__name__)

_NAMED = 100
"""The most objects that the page lists per rule that `strict` turns into an error."""


def settling(plan: Plan, settings: Settings, index: str) -> Callable[[RunResult], None]:
    """A function that settles a run of the plan at its end, if it is an ingestion, and writes `balance` to its context.

    `index_version` is the progress of the version of the index that the run has built, if any.
    """

    def settle_run(result: RunResult) -> None:
        try:
            _settle(plan, result)
        except Exception:  # the run has ended as it has ended
            logger.exception("%s: its balance could not be recorded", result.run_id)
        try:
            _finish(result, settings, index)
        except Exception:
            logger.exception("%s: the index was not switched to the version that this run built", result.run_id)

    return settle_run


def balance_page(result: RunResult) -> list[tuple[str, str, str]]:
    """Key, description and Markdown of the page with the balance; none if the run has no balance."""
    values = result.context.data.get("balance")
    if not values:
        return []
    from handlers.ingestion import Balance, balance_markdown

    balance = Balance.from_json(values)
    store = result.context.services["index_store"]
    return [("balance", "The outcome of every object of the source", balance_markdown(balance, store, named=_NAMED))]


def ingestion_summary(result: RunResult) -> str:
    """The outcomes of a run's documents and the passages of its index in one line; empty if it has no balance."""
    values = result.context.data.get("balance")
    if not values:
        return ""
    from handlers.ingestion import Balance

    text = Balance.from_json(values).summary()
    if built := result.context.data.get("index_version"):
        text += f"; {BuiltVersion(**built)}"
    try:
        passages = result.context.services["index_store"].statistics().get("chunks")
    except Exception:  # the run has ended as it has ended
        logger.exception("%s: the passages of its index could not be counted", result.run_id)
        return text
    return text if passages is None else f"{text}; {passages:,} passage{'' if passages == 1 else 's'} in the index"


def _settle(plan: Plan, result: RunResult) -> None:
    fields = result.context.data
    if "changes" not in fields or "index_store" not in result.context.services:
        return
    from handlers.ingestion import Ended, making_fingerprint, note_making, settle  # numpy takes a while to import

    ended = Ended(
        result.run_id,
        _not_done(plan, result, "batches", len(fields["batches"])),
        _not_done(plan, result, "refreshes", len(fields["refreshes"])),
        result.failures,
        frozenset(each.item for outcome in result.outcomes for each in outcome.items if each.status == "postponed"),
    )
    services = result.context.services
    balance = settle(dict(fields), ended, services["index_store"], services["storage"])
    if balance is not None:
        fields["balance"] = balance.to_json()
        note_making(
            services["index_store"],
            making_by(plan.pipeline, fields),
            source=balance.source,
            fingerprint=making_fingerprint(result.context.identity),
        )


def _finish(result: RunResult, settings: Settings, index: str) -> None:
    fields = result.context.data
    if "changes" not in fields or "index_store" not in result.context.services:
        return
    built = finish_version(settings, result.context.services, index)
    if built is not None:
        fields["index_version"] = built.to_json()
        logger.info("index %s: %s", index, built)


def _not_done(plan: Plan, result: RunResult, over: str, count: int) -> dict[int, str]:
    """The reasons of unfinished batches, by position, including those of a loop that never began."""
    reasons = {position: f"was not ingested: {_why(result)}" for position in range(count)}
    ended = {outcome.path: outcome for outcome in result.outcomes if outcome.kind == "item"}
    causes = _causes(result)
    for loop in _loops(plan.root):
        for position in range(count if loop.over == over else 0):
            item = ended.get(StepPath(loop.path).of_item(position))
            if item is not None and item.status == "succeeded":
                reasons.pop(position, None)
            elif item is not None:
                reasons[position] = _reason(item, causes.get(item.path))
    return reasons


def _loops(node: Node) -> list[Loop]:
    inner = [loop for child in node_children(node) for loop in _loops(child)]
    return [node, *inner] if isinstance(node, Loop) else inner


def _causes(result: RunResult) -> dict[StepPath, Outcome]:
    """For each path, the first failed step inside it."""
    causes: dict[StepPath, Outcome] = {}
    for outcome in result.outcomes:
        if outcome.is_leaf and outcome.error is not None:
            for path in outcome.path.around:
                causes.setdefault(path, outcome)
    return causes


def _reason(item: Outcome, cause: Outcome | None) -> str:
    if cause is not None and cause.error is not None:
        return f"its batch failed in {cause.step.rpartition('.')[2]}: {cause.error.message}"
    if item.error is not None:
        return f"its batch failed: {item.error.message}"
    if item.status == "cancelled":
        return f"its batch was not begun: {item.reason}"
    return f"its batch {item.status.replace('_', ' ')}"


def _why(result: RunResult) -> str:
    if result.stopped:
        return result.stopped
    first = next((outcome.error.message for outcome in result.outcomes if outcome.error is not None), "")
    return f"the run ended before ({first})" if first else "no step of the run takes it"
