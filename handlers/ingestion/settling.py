"""Settles an ingestion after its end, however it ended, by writing the outcome of every file into the index. The
documents of a batch that failed or never began have no outcome yet. They are set aside with the reason, and the next
ingestion processes them again.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from flows.author import ItemFailure
from flows.state import chunked
from flows.storage import Storage
from handlers.ingestion.balance import Balance
from handlers.records import SourceFile
from handlers.sources import MANIFEST, is_manifest
from handlers.stores import FailedDocument, IndexStore

POSTPONED = "postponed"
"""The status that a step reports for documents that changed while the run was stopped."""


@dataclass(frozen=True)
class Ended:
    """How the batches of an ingestion ended; `batches` and `refreshes` have the reasons of unfinished ones."""

    run_id: str
    batches: Mapping[int, str]
    refreshes: Mapping[int, str]
    failures: Sequence[ItemFailure] = ()
    postponed: frozenset[str] = field(default_factory=frozenset[str])
    """Names of documents."""


def settle(fields: Mapping[str, Any], ended: Ended, store: IndexStore, storage: Storage) -> Balance | None:
    """The balance of a run with these fields of its context; None if the run ended before it compared its listing.

    Documents of unfinished batches are recorded as failed, and the balance is stored with its source or beside the
    manifest.
    """
    changes: Mapping[str, int] | None = fields.get("changes")
    if changes is None or "batches" not in fields:
        return None
    failed = {each.item for each in ended.failures} | ended.postponed
    counts = {"refreshed": 0, "processed": 0, "set_aside": changes["quarantined"]}
    changed = changes.get("changed", 0)
    for name, reasons, done in (("batches", ended.batches, "processed"), ("refreshes", ended.refreshes, "refreshed")):
        for position, batch in enumerate(fields[name]):
            aside = [file for file in batch if failed & {file.name, file.uri, file.document_id}]
            if position in reasons:
                silent = [file for file in batch if file not in aside]
                _set_aside(silent, reasons[position], ended.run_id, store)
                aside += silent
            if done == "processed" and aside:
                known = store.known([file.document_id for file in aside])
                changed -= sum(row.searchable for row in known.values())
            counts["set_aside"] += len(aside)
            counts[done] += len(batch) - len(aside)
    left_out: Mapping[str, int] = fields.get("left_out") or {}
    balance = Balance(
        str(fields.get("source_uri") or fields.get("source") or ""),
        str(fields.get("pattern") or "**/*"),
        ended.run_id,
        seen=changes["listed"] + sum(left_out.values()),
        processed=counts["processed"] + counts["refreshed"],
        unchanged=changes["unchanged"],
        set_aside=counts["set_aside"],
        left_out=dict(left_out),
        details={
            "changed": changed,
            "refreshed": counts["refreshed"],
            "moved": changes["move"],
            "adopted": changes["adopt"],
            "restated": changes["restate"],
            "set_aside_before": changes["quarantined"],
        },
    )
    if is_manifest(balance.source):
        storage.write(balance_uri(balance.source), json.dumps(balance.to_json()).encode())
    else:
        note_balance(balance, store, is_good=not ended.batches and not ended.refreshes)
    return balance


def balance_uri(manifest: str) -> str:
    """The URI of the balance of a run over a manifest."""
    return f"{manifest.removeprefix(MANIFEST)}.balance.json"


def note_balance(balance: Balance, store: IndexStore, *, is_good: bool = True) -> None:
    """Store a balance and its time with its source, if the source is registered in the index.

    A good ingestion is one that reached its end; documents may have been set aside.
    """
    now = time.time()
    for record in store.sources():
        if record.uri == balance.source and (record.pattern == balance.pattern or not record.is_folder):
            times = {"ended_at": now, "good_at": now if is_good else record.balance.get("good_at")}
            store.put_source(replace(record, balance={**record.balance, **balance.to_json(), **times}))


def _set_aside(files: Sequence[SourceFile], reason: str, run_id: str, store: IndexStore) -> None:
    for some in chunked(files):
        # Without a record of an attempt, the next ingestion tries them.
        noted = [FailedDocument(file.document_id, file.name, file.uri, reason) for file in some]
        store.put_failures(noted, run_id=run_id)
