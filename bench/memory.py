"""Memory while ingesting: large documents stay below a limit, and many small ones do not make it grow.

    python -m bench.memory --documents 2000 --kilobytes 1000
    python -m bench.memory --documents 50000 --kilobytes 1

Prints the resident memory of the process while it ingests with the embedder for tests, and the peak.
"""

import argparse
import random
import resource
import tempfile
import threading
import time
from pathlib import Path

import psutil

from bench.incremental import WORDS, ingest
from deployments.settings import Settings
from deployments.wiring import load_handlers


def write(folder: Path, count: int, kilobytes: int) -> None:
    dice = random.Random(0)
    vocabulary = [*WORDS, *(f"word{number}" for number in range(3000))]
    for number in range(count):
        size, parts = 0, []
        while size < kilobytes * 1000:
            parts.append(" ".join(dice.choices(vocabulary, k=60)).capitalize() + ".\n\n")
            size += len(parts[-1])
        path = folder / f"{number // 1000:03}" / f"{number:06}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(parts)[: kilobytes * 1000], encoding="utf-8")


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
        process, over, curve = psutil.Process(), threading.Event(), [(0.0, psutil.Process().memory_info().rss)]
        began = time.monotonic()

        def watch() -> None:
            while not over.wait(0.5):
                curve.append((time.monotonic() - began, process.memory_info().rss))

        watching = threading.Thread(target=watch)
        watching.start()
        took, changes = ingest(settings, source, "bench")
        over.set()
        watching.join()
    print(f"{given.documents:,} documents of {given.kilobytes} kB: {changes['process']:,} processed in {took:.1f} s")
    for seconds, rss in curve[:: max(1, len(curve) // 12)]:
        print(f"{seconds:8.1f} s  {rss / 1e6:7.0f} MB")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB")


if __name__ == "__main__":
    main()
