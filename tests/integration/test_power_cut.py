"""After a power cut, a resumed ingestion has all documents: nothing is noted as done that the disk does not have."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from flows.run_store import RunStore
from tests.support.ingesting import ingest, opened, settings_in, write
from tests.support.power_cut import build_library, cut
from tests.support.profiles import scaled

COUNT = 24
LOSSES: dict[str, Callable[[str], bool]] = {
    "everything": lambda name: True,
    "the index": lambda name: name.startswith("docs."),
    "the run store": lambda name: name.startswith("runs."),
}


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler: apt-get install gcc libc6-dev")
    return build_library(tmp_path_factory.mktemp("power"))


@pytest.mark.slow
@pytest.mark.parametrize("lost", LOSSES)
@pytest.mark.parametrize("share", [0.9, 0.6, 0.98, 0.8, 0.3][: scaled(2)])
def test_a_resumed_ingestion_has_every_document(lost: str, share: float, library: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    write(source, {f"note {n:02}.txt": f"The {n}th note is about storms at York.\n" * 20 for n in range(COUNT)})
    writes = count_writes(tmp_path / "undisturbed", source)
    folder = tmp_path / "cut"
    folder.mkdir()
    assert cut(folder, source, int(share * writes), library, LOSSES[lost])

    settings = settings_in(folder)
    store = RunStore(settings.run_store_url)
    records = store.recent(limit=1)
    record = store.get(records[0].run_id) if records else None
    store.close()
    result = ingest(settings, source, resumes=record)
    assert result.status == "succeeded", result.errors
    index = opened(settings)
    assert {row.name for row in index.documents()} == {f"note {n:02}.txt" for n in range(COUNT)}
    assert index.fingerprint() == opened(settings_in(tmp_path / "undisturbed")).fingerprint()


def count_writes(folder: Path, source: Path) -> int:
    """How often an undisturbed ingestion writes to the run store."""
    count, original = 0, RunStore.write

    def counting(self: RunStore, *arguments: object, **named: object) -> None:
        nonlocal count
        count += 1
        original(self, *arguments, **named)  # pyright: ignore[reportArgumentType]

    RunStore.write = counting
    try:
        assert ingest(settings_in(folder), source).status == "succeeded"
    finally:
        RunStore.write = original
    return count
