"""Registers sources in an index, so that nested sources treat shared documents alike."""

from collections.abc import Sequence
from dataclasses import replace

from flows.author import Call
from handlers.records import LeftOut
from handlers.sources.coverage import Coverage
from handlers.stores import IndexSources, SourceRecord


def registered(call: Call) -> list[SourceRecord]:
    """The sources that the index of a call knows; none without an index."""
    return _store(call).sources() if "index_store" in call.services else []


def register(record: SourceRecord, known: Sequence[SourceRecord], left_out: Sequence[LeftOut], call: Call) -> None:
    """Register a source with the objects that it leaves out; its last balance stays until the run has a new one.

    A single file inside a registered folder is part of it and is registered only if it has its own tags.
    """
    if "index_store" not in call.services:
        return
    store = _store(call)
    before = next((each for each in known if (each.uri, each.pattern) == (record.uri, record.pattern)), record)
    folders = Coverage(each for each in [*known, record] if each.is_folder)
    store.forget_sources(
        (each.uri, each.pattern) for each in known if _is_part(each, folders) and each.uri != record.uri
    )
    if _is_part(record, folders):
        store.forget_sources([(record.uri, record.pattern)])
    else:
        store.put_source(replace(record, balance=before.balance), left_out)


def _is_part(record: SourceRecord, folders: Coverage) -> bool:
    return not record.is_folder and not record.tags and bool(folders.holding(record.uri))


def _store(call: Call) -> IndexSources:
    return call.services["index_store"]
