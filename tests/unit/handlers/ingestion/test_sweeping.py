"""Staged data of dead runs are swept immediately."""

from flows.author import Call
from flows.state import Identity, Services
from handlers.ingestion.upkeep import sweep_leftovers
from handlers.records import Document
from handlers.stores.memory import MemoryIndexStore


class KnownRuns:
    def alive_and_dead(self) -> tuple[set[str], set[str]]:
        return {"other"}, {"crashed"}


def test_what_a_run_staged_that_died_lately_is_swept() -> None:
    store = MemoryIndexStore()
    store.put_documents(
        [Document(id="d", name="d", uri="d", title="", mime_type="", text="t", content_sha256="x")],
        [],
        run_id="crashed",
    )
    services = Services({"index_store": lambda: store, "known_runs": KnownRuns})
    assert sweep_leftovers(call=Call(identity=Identity(run_id="now", services=services))) == 1
