"""Proves an index: makes some or all of its documents again from their current sources, and compares."""

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deployments.catalog import Catalog
from deployments.runs import Request, for_a_question, load_handlers, make_services, run_pipeline
from deployments.setting_values import index_name
from deployments.settings import Settings
from flows.author import Call
from flows.engine import new_run_id
from flows.errors import OrchestrationError
from flows.state import Identity, Services, chunked
from flows.storage import Storage

if TYPE_CHECKING:
    from handlers.ingestion import Making
    from handlers.records import SourceFile
    from handlers.stores import Difference, DocumentState, Flaw, IndexStore, StoredDocument

logger = logging.getLogger(__name__)
PIPELINE = "ingest"
"""By which documents are made of which the index does not say how they were."""
_AT_ONCE = 200


@dataclass
class ProofReport:
    """The compared documents, their differences, and the documents that could not be compared."""

    index: str
    documents: int = 0
    """The number of documents that were made again."""
    flaws: list["Flaw"] = field(default_factory=list["Flaw"])
    differences: list["Difference"] = field(default_factory=list["Difference"])
    changed: int = 0
    """Documents whose sources have changed since; the next ingestion processes them."""
    unproven: list[str] = field(default_factory=list[str])
    """Names of documents that no source of the index lists any more, or that cannot be read now."""
    repaired: int = 0

    @property
    def holds(self) -> bool:
        return not self.flaws and not self.differences


def prove_index(
    settings: Settings,
    catalog: Catalog,
    index: str,
    *,
    share: float = 1.0,
    seed: str = "",
    repair: bool = False,
    progress: Callable[[int], None] = lambda documents: None,
) -> ProofReport:
    """Compare a share of an index's documents (0 to 1, chosen by the seed) with the same documents made again.

    Orphaned rows and the checksums of vectors are always checked completely.
    """
    from handlers import stores

    load_handlers(settings)
    services = make_services(settings, index)
    try:
        seen = for_a_question(services, index)
        store: IndexStore = seen["index_store"]
        report = ProofReport(index)
        states = {
            state.id: state for state in _states(store) if state.content_sha256 and _chosen(state.id, share, seed)
        }
        report.flaws = [each for each in store.flaws() if each.kind != "vector"]
        if repair:
            report.repaired += store.mend(report.flaws)
        run_id = new_run_id()
        for making, files in _files(states, store, seen, index, report):
            try:
                fresh = _made_afresh(settings, catalog, index, making, files, seen)
            except OrchestrationError as error:
                logger.warning("documents of the pipeline %s cannot be processed again: %s", making.pipeline, error)
                report.unproven += [states[each.document_id].name for each in files]
                continue
            wanted = [each for each in fresh if each.searchable]
            report.unproven += [states[each.document.id].name for each in fresh if not each.searchable]
            proof = stores.prove(store, wanted)
            report.documents += len(wanted)
            report.differences += proof.differences
            if repair and proof.differences:
                report.repaired += stores.repair(store, stores.Proof((), proof.differences), wanted, run_id=run_id)
            progress(report.documents)
        return report
    finally:
        services.close()


def _states(store: "IndexStore") -> Iterator["DocumentState"]:
    after = ""
    while page := store.document_states(after=after, limit=1000):
        yield from page
        after = page[-1].id


def _chosen(document_id: str, share: float, seed: str) -> bool:
    """Whether a document is in the sample; each document has the same chance."""
    digest = hashlib.sha256(f"{seed} {document_id}".encode()).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


def _files(
    states: Mapping[str, "DocumentState"], store: "IndexStore", services: Services, index: str, report: ProofReport
) -> Iterator[tuple["Making", Sequence["SourceFile"]]]:
    """Yield the current files of these documents from their sources, in batches, with the way they were made."""
    from handlers.ingestion import Making, making_of
    from handlers.sources import list_sources
    from handlers.stores import MemoryIndexStore

    missing = set(states)
    scratch = services.replacing({"index_store": MemoryIndexStore()})
    call = Call("prove", identity=Identity("prove", "", index_name(index), scratch))
    for record in store.sources():
        newest = making_of(record, "") or Making(PIPELINE)
        options: dict[str, Any] = {
            "ocr": newest.parameters.get("ocr", "auto"),
            "pattern": record.pattern,
            "exclude": record.exclude,
            "tags": _as_mapping(record.tags),
        }
        try:
            listed = list_sources(record.uri, **options, max_document_bytes=50_000_000, call=call)
        except OrchestrationError as error:
            call.logger.warning("%s cannot be listed: %s", record.uri, error)
            continue
        found: dict[str, list[SourceFile]] = {}
        for file in listed:
            if file.document_id not in missing:
                continue
            missing.discard(file.document_id)
            if file.revision != states[file.document_id].revision:
                report.changed += 1
            else:
                found.setdefault(states[file.document_id].fingerprint, []).append(file)
        for fingerprint, files in found.items():
            making = making_of(record, fingerprint) or newest
            yield from ((making, some) for some in chunked(files, _AT_ONCE))
    report.unproven += sorted(states[each].name for each in missing)


def _as_mapping(tags: Sequence[tuple[str, str]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, value in tags:
        found.setdefault(name, []).append(value)
    return found


def _made_afresh(
    settings: Settings,
    catalog: Catalog,
    index: str,
    making: "Making",
    files: Sequence["SourceFile"],
    services: Services,
) -> list["StoredDocument"]:
    """These documents, made again in the same way by an ingestion into an empty index.

    Raises:
        OrchestrationError: the pipeline no longer exists, or no longer accepts the parameters.
    """
    from handlers.sources import write_manifest
    from handlers.stores import MemoryIndexStore

    made = MemoryIndexStore()
    storage: Storage = services["storage"]
    with tempfile.TemporaryDirectory() as folder:
        source = write_manifest(storage, storage.join(folder, "files.jsonl"), files)
        request = Request(
            catalog.find(making.pipeline),
            {**making.parameters, "source": source},
            index=index_name(index),
            engine="inline",
            recorded=False,
        )
        run_pipeline(request, settings=settings, catalog=catalog, services=services.replacing({"index_store": made}))
    return made.read_documents([file.document_id for file in files])
