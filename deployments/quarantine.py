"""Quarantine: documents that a run set aside end in the index's document table, each with its reason."""

import re

from flows.calls import ItemFailure
from flows.plan import Plan
from flows.results import Outcome
from flows.run_state import Observer
from flows.services import Services


class Quarantine(Observer):
    """Collects what steps that read `sources` set aside: their items are names of documents, those of others are not."""

    def __init__(self) -> None:
        self.failures: list[ItemFailure] = []
        self._paths: frozenset[str] = frozenset()

    def run_started(self, plan: Plan, run_id: str) -> None:
        self._paths = frozenset(
            leaf.path for leaf in plan.leaves if any(read.name == "sources" for read in leaf.spec.reads or ())
        )

    def finished(self, outcome: Outcome) -> None:
        if outcome.failures and re.sub(r"\[\d+\]", "", outcome.path) in self._paths:
            self.failures.extend(outcome.failures)

    def write(self, services: Services, run_id: str) -> None:
        """Note them in the index; what was searchable of them before stays so."""
        if not self.failures:
            return
        from handlers.records import stable_id
        from handlers.stores.protocol import FailedDocument

        services["index_store"].put_failures(
            [FailedDocument(stable_id("doc", failure.item), failure.item, "", failure.error) for failure in self.failures],
            run_id=run_id,
        )
