"""The speed of `braid serve`: p50, p95 and memory for 1, 8 and 50 clients, alone and during an ingestion.

    python -m bench.serving --passages 100000 [--store sqlite] [--seconds 15] [--workers 1] [--keep FOLDER]

The passages are of random words, one in ten with a digit, and the vectors random; questions are eight of the words, and
are embedded by the bundled model. Each asker asks its next question as soon as it has the answer. With `--keep`, an
index that is in the folder already is used again. Needs the extra `test`.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import numpy as np
import psutil

from bench.stores import PASSAGES, count_terms, fill, make
from deployments.settings import Settings
from handlers.models import EMBEDDING_MODEL, make_embedder
from handlers.stores import open_index
from tests.support.served import Served, braid_environment, serve
from tests.support.servers import run_postgres

INDEX, ASKERS, PART, RARER = "bench", (1, 8, 50), 500, 100
SYLLABLES = [consonant + vowel for consonant in "bdfgklmnprtvz" for vowel in "aiou"]


def _word(number: int) -> str:
    """A word of letters; one in ten ends in a digit, and is looked for as a name."""
    base = len(SYLLABLES)
    letters = "".join(SYLLABLES[number // base**place % base] for place in range(3))
    return f"{letters}{number // 10 % 10}" if number % 10 == 0 else f"{letters}k"


VOCABULARY = [_word(number) for number in range(20_000)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--store", choices=["sqlite", "postgres"], action="append")
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--keep", type=Path)
    chosen = parser.parse_args()
    for store in chosen.store or ["sqlite", "postgres"]:
        with ExitStack() as stack:
            folder = chosen.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="braid-serving-")))
            url = make_postgres_url(stack) if store == "postgres" else None
            _measure(store, folder, url, chosen)


def make_postgres_url(stack: ExitStack) -> str:
    """The URL of indexes in a PostgreSQL that runs as long as the stack is open."""
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="braid-pg-"))
    return f"{stack.enter_context(run_postgres(Path(folder) / 'data'))}&index={{index}}"


def _measure(store: str, folder: Path, url: str | None, chosen: argparse.Namespace) -> None:
    settings = Settings(home=folder, index_url=url)
    _fill(settings, chosen.passages)
    environment = {"BRAID_EMBEDDING_MODEL": "", "BRAID_SERVE_RATE": "0", **({"BRAID_INDEX_URL": url} if url else {})}
    with serve(folder, "--workers", str(chosen.workers), environment=environment) as served:
        _ask_for(served, 8, 3.0)  # every worker loads what it keeps
        print(f"{store}, {chosen.passages:,} passages, {chosen.workers} process(es): {_memory(served):,.0f} MB at rest")
        for name, context in (("alone", ExitStack()), ("ingesting", _ingesting(folder, environment))):
            with context:
                for askers in ASKERS:
                    before = _cpu_s(served)
                    taken = _ask_for(served, askers, chosen.seconds)
                    _report(name, askers, taken, _cpu_s(served) - before, served)


def _report(name: str, askers: int, taken: Sequence[float], cpu_s: float, served: Served) -> None:
    cuts = statistics.quantiles(taken, n=20)
    print(
        f"  {name:9} {askers:3} askers: p50 {cuts[9] * 1e3:7.0f} ms  p95 {cuts[18] * 1e3:7.0f} ms  "
        f"{cpu_s / len(taken) * 1e3:5.0f} ms of CPU per answer  {len(taken):5} answers  {_memory(served):6,.0f} MB",
        flush=True,
    )


def _ask_for(served: Served, askers: int, seconds: float) -> list[float]:
    """The seconds that each answer took."""
    taken: list[float] = []
    until = time.perf_counter() + seconds

    def ask(number: int) -> None:
        rng = np.random.default_rng(number)
        with httpx.Client(base_url=served.url, timeout=120) as client:
            while time.perf_counter() < until:
                # Not the most frequent words: those of real texts are stop words, which are not searched for.
                ranks = RARER + rng.zipf(1.3, 8) % (len(VOCABULARY) - RARER)
                words = " ".join(VOCABULARY[int(at)] for at in ranks)
                began = time.perf_counter()
                client.post(f"/api/indexes/{INDEX}/search", json={"question": words}).raise_for_status()
                taken.append(time.perf_counter() - began)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(askers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def _processes(served: Served) -> list[psutil.Process]:
    process = psutil.Process(served.process.pid)
    return [process, *process.children(recursive=True)]


def _memory(served: Served) -> float:
    """Megabytes of all processes of the server."""
    return sum(each.memory_info().rss for each in _processes(served)) / 1e6


def _cpu_s(served: Served) -> float:
    """Seconds of CPU that all processes of the server have used."""
    return sum(sum(each.cpu_times()[:2]) for each in _processes(served))


@contextmanager
def _ingesting(folder: Path, environment: dict[str, str]) -> Iterator[None]:
    """An ingestion into the same index, again and again until the block ends."""
    source = folder / "source"
    source.mkdir(exist_ok=True)
    rng = np.random.default_rng(7)
    for number in range(40):
        words = (VOCABULARY[int(at)] for at in rng.zipf(1.3, 1500) % len(VOCABULARY))
        (source / f"{number}.txt").write_text(" ".join(words))
    ended = threading.Event()

    def ingest() -> None:
        command = [sys.executable, "-m", "deployments", "ingest", str(source), "--index", INDEX, "--force"]
        while not ended.is_set():
            with subprocess.Popen(
                [*command, "--engine", "inline"],
                env=braid_environment(folder, environment),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            ) as process:
                while process.poll() is None and not ended.wait(0.2):
                    pass
                process.terminate()

    thread = threading.Thread(target=ingest)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _fill(settings: Settings, passages: int) -> None:
    model = make_embedder(EMBEDDING_MODEL).name
    rng = np.random.default_rng(1)
    store = open_index(settings.index_location(INDEX))
    try:
        documents = passages // PASSAGES
        there = store.statistics()["documents"]
        began = time.perf_counter()
        for start in range(there, documents, PART):
            made = [make(place, rng, VOCABULARY) for place in range(start, min(start + PART, documents))]
            sparse = {chunk.id: count_terms(chunk) for _, chunks in made for chunk in chunks}
            fill(store, made, sparse, rng, model=model)
        print(
            f"{documents - there:,} documents made in {time.perf_counter() - began:.0f} s",
            flush=True,
        )
    finally:
        store.close()


if __name__ == "__main__":
    main()
