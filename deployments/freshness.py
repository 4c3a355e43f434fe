"""The freshness of named sources: the age of the last good ingestion, compared with the promised age."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from deployments.indexes import MissingIndex, require_index
from deployments.setting_values import duration_text
from deployments.settings import Settings
from deployments.source_file import NamedSource, load_sources
from flows.errors import OrchestrationError

if TYPE_CHECKING:
    from handlers.stores import SourceRecord


@dataclass(frozen=True)
class Freshness:
    """The state of a source."""

    name: str
    kind: str
    place: str
    index: str
    good_at: float | None
    """When the last good ingestion ended, in seconds since 1970; None if there was none."""
    run_id: str
    """The last ingestion, good or not."""
    age_s: float | None
    fresh_within_s: float | None
    is_stale: bool
    """Whether the promised age is exceeded; a source without a promise is never stale."""
    seen: int
    set_aside: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def state(self) -> str:
        """`fresh` or `stale`; empty if nothing was promised."""
        return "" if self.fresh_within_s is None else "stale" if self.is_stale else "fresh"

    @property
    def text(self) -> str:
        """Age and promise in words: `fresh: last ingested successfully 5 m ago, promised within 6 h`."""
        ago = (
            "never ingested successfully"
            if self.age_s is None
            else f"last ingested successfully {age_text(self.age_s)} ago"
        )
        promise = f", promised within {duration_text(self.fresh_within_s)}" if self.fresh_within_s is not None else ""
        return f"{f'{self.state}: ' if self.state else ''}{ago}{promise}"


def age_text(seconds: float) -> str:
    """An age in its largest unit: `3 d`, `4.5 h`, `12 m`, `8 s`."""
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.0f} s"


def freshness_of(settings: Settings, sources: Iterable[NamedSource] | None = None) -> list[Freshness]:
    """The freshness of the given sources, by default of all named ones, in the order of the file.

    Raises:
        InvalidPipeline: the file has problems.
    """
    chosen = load_sources(settings).values() if sources is None else sources
    balances: dict[str, dict[tuple[str, str], Mapping[str, Any]]] = {}
    found: list[Freshness] = []
    for source in chosen:
        if source.index not in balances:
            balances[source.index] = _balances(settings, source.index)
        known = balances[source.index]
        balance = known.get((source.root, source.entry.pattern or "**/*")) or known.get((source.root, "**/*")) or {}
        found.append(freshness_from(source, balance))
    return found


def freshness_by_place(
    settings: Settings, index: str, records: "Iterable[SourceRecord]"
) -> dict[tuple[str, str], Freshness]:
    """The state of the named sources among those of an index, by URI and pattern; none if sources.yaml is broken."""
    try:
        named = [each for each in load_sources(settings).values() if each.index == index]
        by_place = {(each.root, each.entry.pattern or "**/*"): each for each in named}
    except OrchestrationError:
        return {}
    found = {(each.uri, each.pattern): each.balance for each in records}
    return {place: freshness_from(by_place[place], found[place]) for place in by_place.keys() & found.keys()}


def freshness_from(source: NamedSource, balance: Mapping[str, Any]) -> Freshness:
    """The freshness of a source, from the balance of its last ingestion."""
    good_at, promise = balance.get("good_at"), source.entry.fresh_within
    age = None if good_at is None else max(0.0, time.time() - good_at)
    return Freshness(
        name=source.name,
        kind=source.kind,
        place=source.entry.place,
        index=source.index,
        good_at=good_at,
        run_id=str(balance.get("run_id") or ""),
        age_s=age,
        fresh_within_s=promise,
        is_stale=promise is not None and (age is None or age > promise),
        seen=int(balance.get("seen") or 0),
        set_aside=int(balance.get("set_aside") or 0),
    )


def _balances(settings: Settings, index: str) -> dict[tuple[str, str], Mapping[str, Any]]:
    """The last balances of an index by source and pattern; none if there is no such index."""
    from handlers.stores import open_index

    try:
        require_index(settings, index)
    except MissingIndex:
        return {}
    store = open_index(settings.index_location(index))
    try:
        return {(each.uri, each.pattern): each.balance for each in store.sources() if each.balance}
    finally:
        store.close()
