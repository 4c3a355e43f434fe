"""The balance of an ingestion: every object in a source has exactly one outcome."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from handlers.sources import RULES


@dataclass(frozen=True)
class Balance:
    """The number of objects of a source that a run saw, and their outcomes.

    `seen` is always the sum of `processed`, `unchanged`, `set_aside` and all of `left_out`.
    """

    source: str
    pattern: str = "**/*"
    run_id: str = ""
    seen: int = 0
    processed: int = 0
    """Documents that were read and stored, or whose facets were remade from stored parts."""
    unchanged: int = 0
    """Documents whose stored content stayed; tags, name or place may have changed."""
    set_aside: int = 0
    """Documents that were not ingested, each with a reason in the document table."""
    left_out: Mapping[str, int] = field(default_factory=dict[str, int])
    """Objects that are never ingested, counted by rule."""
    details: Mapping[str, int] = field(default_factory=dict[str, int])
    """Parts of the counts above: `refreshed` and `changed` of those processed, the others of which are new; `moved`,
    `adopted` and `restated` of those unchanged or processed; `set_aside_before` of those set aside."""

    @property
    def is_exact(self) -> bool:
        """Whether every object has one outcome; false means a bug in the ingestion."""
        return self.seen == self.processed + self.unchanged + self.set_aside + sum(self.left_out.values())

    def summary(self) -> str:
        """The outcomes of the documents in one line: `15 documents: 12 new, 2 changed, 1 set aside`."""
        refreshed, changed = self.details.get("refreshed", 0), self.details.get("changed", 0)
        left_out = sum(self.left_out.values())
        counts = {
            "new": self.processed - refreshed - changed,
            "changed": changed,
            "processed again in part": refreshed,
            "unchanged": self.unchanged,
            "set aside": self.set_aside,
        }
        documents = self.seen - left_out
        parts = [f"{number:,} {what}" for what, number in counts.items() if number]
        text = f"{documents:,} document{'' if documents == 1 else 's'}{': ' if parts else ''}{', '.join(parts)}"
        return f"{text}; {left_out:,} left out" if left_out else text

    def to_json(self) -> dict[str, Any]:
        rules = {rule: self.left_out[rule] for rule in RULES if self.left_out.get(rule)}
        return {
            "source": self.source,
            "pattern": self.pattern,
            "run_id": self.run_id,
            "seen": self.seen,
            "processed": self.processed,
            "unchanged": self.unchanged,
            "set_aside": self.set_aside,
            "left_out": rules,
            "details": dict(self.details),
            "exact": self.is_exact,
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Balance":
        known = {each.name for each in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


def add_balances(source: str, pattern: str, run_id: str, parts: Iterable[Balance]) -> Balance:
    """The balance of a source that was ingested in parts."""
    listed = list(parts)

    def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
        found: dict[str, int] = {}
        for each in counts:
            for name, number in each.items():
                found[name] = found.get(name, 0) + number
        return found

    return Balance(
        source,
        pattern,
        run_id,
        seen=sum(each.seen for each in listed),
        processed=sum(each.processed for each in listed),
        unchanged=sum(each.unchanged for each in listed),
        set_aside=sum(each.set_aside for each in listed),
        left_out=total(each.left_out for each in listed),
        details=total(each.details for each in listed),
    )
