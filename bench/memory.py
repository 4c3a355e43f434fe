"""Memory during an ingestion: it stays below a limit for large documents, and does not grow with many small ones.

    python -m bench.memory --documents 2000 --kilobytes 1000
    python -m bench.memory --documents 50000 --kilobytes 1

Prints the resident memory of the process while it ingests with the embedder for tests, beside the number of documents
that can be searched by then, with the CPU time and the peak so far. Stopped half-way, it has printed the curve up to
there.
"""

import argparse
import random
import resource
import tempfile
import time
from pathlib import Path

import psutil

from bench.incremental import WORDS
from deployments.catalog import load_catalog
from deployments.runs import Request, load_handlers, run_pipeline
from deployments.settings import Settings
from flows.engine import Event, StepFinished


def write(folder: Path, count: int, kilobytes: int) -> None:
    dice = random.Random(0)
    vocabulary = [*WORDS, *(f"word{number}" for number in range(3000))]
    paragraphs = [" ".join(dice.choices(vocabulary, k=60)).capitalize() + ".\n\n" for _ in range(5000)]
    shortest = min(map(len, paragraphs))
    for number in range(count):
        text = "".join(dice.choices(paragraphs, k=1 + kilobytes * 1000 // shortest))
        path = folder / f"{number // 1000:03}" / f"{number:06}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text[: kilobytes * 1000], encoding="utf-8")


class Watch:
    """Prints the memory forty times while documents are published."""

    def __init__(self, documents: int) -> None:
        self._every, self._published, self._began = max(1, documents // 40), 0, time.monotonic()
        self._process = psutil.Process()

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepFinished) and event.outcome.is_leaf and "publish_documents" in event.outcome.id:
            before, self._published = self._published, self._published + len(event.outcome.items)
            if before // self._every != self._published // self._every:
                self.note()

    def note(self) -> None:
        memory = self._process.memory_info().rss / 1e6
        times = self._process.cpu_times()
        print(
            f"{time.monotonic() - self._began:8.1f} s  {self._published:8,} documents  {memory:7.1f} MB  "
            f"peak {peak_mb():5.0f} MB  {times.user + times.system:8.1f} CPU s",
            flush=True,
        )


def peak_mb() -> float:
    """The peak resident memory of this process."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6  # Linux reports kibibytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=int, default=2000)
    parser.add_argument("--kilobytes", type=int, default=1000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "in")
        write(source, given.documents, given.kilobytes)
        settings = Settings(home=Path(folder, "home")).model_copy(update={"embedding_model": "hashing"})
        load_handlers(settings)
        watch = Watch(given.documents)
        watch.note()
        began = time.monotonic()
        catalog = load_catalog(settings)
        result = run_pipeline(
            Request(catalog.find("ingest"), {"source": str(source)}, index="bench", engine="inline"),
            settings=settings,
            catalog=catalog,
            progress=watch,
        )
        took = time.monotonic() - began
        assert result.status == "succeeded", result.errors
        watch.note()
    changes = result.context.data["changes"]
    print(f"{given.documents:,} documents of {given.kilobytes} kB: {changes['process']:,} processed in {took:.1f} s")
    print(f"peak {peak_mb():.0f} MB")


if __name__ == "__main__":
    main()
