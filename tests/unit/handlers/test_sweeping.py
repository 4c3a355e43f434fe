"""What is swept at once: what dead runs staged, but not by a shard, beside which a dead one may be started again."""

import pytest

from flows.calls import Call
from flows.context import Identity
from flows.services import Services
from handlers.changes import sweep_leftovers
from handlers.records import Document
from handlers.stores.memory import MemoryIndexStore


class KnownRuns:
    def alive_and_dead(self) -> tuple[set[str], set[str]]:
        return {"other"}, {"crashed"}


@pytest.mark.parametrize(("source", "swept"), [("/documents", 1), ("", 1), ("manifest:file:///m.jsonl", 0)])
def test_a_shard_leaves_alone_what_a_run_staged_that_died_lately(source: str, swept: int) -> None:
    store = MemoryIndexStore()
    store.put_documents([Document(id="d", name="d", uri="d", title="", mime_type="", text="t", content_sha256="x")], [],
                        run_id="crashed")  # fmt: skip
    services = Services({"index_store": lambda: store, "known_runs": KnownRuns})
    assert sweep_leftovers(source, call=Call(identity=Identity(run_id="now", services=services))) == swept
