"""The speed of searches in a large index, alone and while it grows, next to libraries for search.

    python -m bench.search_scale [--passages 10000 --passages 200000] [--store sqlite --store postgres]
                                 [--library faiss …] [--keep FOLDER] [--questions 60]

The passages are made up (`bench.search_corpus`). Each store and library is measured in a process of its own. `cold` is
the CPU time of the first question of a process, `warm` that of the next ones, `publication` that of the first question
after another writer has published eighty passages. A question asks for the fifty best by meaning and the fifty best by
words and reads five of them. `recall` is the share of the truly nearest fifty. CPU times are those of this process;
for PostgreSQL, whose server does the work, the elapsed times count. A library that takes longer than fifteen CPU
minutes to be filled and asked is stopped. Needs the extra `test`, and the libraries
that are to be measured (`pip install faiss-cpu usearch tantivy bm25s lancedb qdrant-client`).
"""

import argparse
import multiprocessing
import resource
import signal
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from bench.search_corpus import FILTERS, MODEL, PART, PASSAGES, parts, questions, recall, store_part, worst_products
from bench.search_libraries import LIBRARIES
from bench.serving import make_postgres_url
from handlers.stores import IndexStore, open_index
from handlers.tags import TagFilter

TOP_K, READ, PUBLICATIONS, PUBLISHED = 50, 5, 12, 8
LONGEST = 15 * 60
"""CPU seconds of a library, with its questions."""
MEASURED = 0.5
"""CPU seconds in which the mean of a question is measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--passages", type=int, action="append")
    parser.add_argument("--store", choices=["sqlite", "postgres"], action="append")
    parser.add_argument("--library", choices=list(LIBRARIES), action="append")
    parser.add_argument("--keep", type=Path, help="the folder of indexes that are used again")
    parser.add_argument("--questions", type=int, default=60)
    parser.add_argument("--alike", action="store_true", help="vectors with as much in common as those of texts have")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        folder = chosen.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="braid-scale-")))
        for passages in chosen.passages or [10_000, 50_000, 200_000]:
            worst = worst_products(passages, chosen.questions, TOP_K, alike=chosen.alike)
            for store in chosen.store or ([] if chosen.library else ["sqlite"]):
                url = str(folder / f"{passages}.db")
                if store == "postgres":
                    url = make_postgres_url(stack).format(index="bench")
                _in_a_process(_measure_store, store, url, passages, worst, chosen.alike)
            for library in chosen.library or ():
                if _in_a_process(_measure_library, library, passages, worst, chosen.alike) == -signal.SIGXCPU:
                    print(f"\n{library}, {passages:,} passages, stopped after {LONGEST} CPU-s", flush=True)


def _in_a_process(function: Callable[..., None], *arguments: Any) -> int | None:
    process = multiprocessing.get_context("spawn").Process(target=function, args=arguments)
    process.start()
    process.join()
    return process.exitcode


def _measure_store(name: str, url: str, passages: int, worst: dict[str, list[float]], alike: bool) -> None:
    store = open_index(url)
    before = (time.perf_counter(), time.process_time())
    there = store.statistics()["documents"] // PART * PART
    for part in parts(passages, there, alike=alike):
        store_part(store, part)
    added = passages - there * PASSAGES
    spent = (time.perf_counter() - before[0], time.process_time() - before[1])
    store.close()
    print(f"\n{name}, {passages:,} passages, {_size(url, store) / 1e6:,.0f} MB on disk", flush=True)
    if added:
        print(f"  stored {added / spent[0]:,.0f} passages/s, {added / spent[1]:,.0f} per CPU second of this process")
    _in_a_process(_ask_store, url, worst, alike)


def _size(url: str, store: Any) -> int:
    size = store.size_bytes()
    store.close()
    return size


def _ask_store(url: str, worst: dict[str, list[float]], alike: bool) -> None:
    store = open_index(url)
    store.statistics()
    asked = list(questions(len(worst[""]), alike=alike))
    at_rest = _memory()
    cold = _timed(lambda: _ask(store, *asked[0], FILTERS[""]))
    print(f"  cold          {_shown([cold])}")
    for name, where in FILTERS.items():
        _ask(store, *asked[0], where)
        taken = [_timed(lambda pair=pair, where=where: _ask(store, *pair, where)) for pair in asked]
        found = [store.search_vectors(vector, top_k=TOP_K, where=where, with_text=False) for vector, _ in asked]
        shares = [
            recall([hit.score for hit in hits], least, TOP_K) for hits, least in zip(found, worst[name], strict=True)
        ]
        filtered = f"warm, {name}" if name else "warm"
        print(f"  {filtered:13} {_shown(taken)}   recall {np.mean(shares):.4f}, least {min(shares):.2f}", flush=True)
    _each_way(store, asked)
    print(f"  publication   {_shown(list(_after_publications(store, url, asked)))}")
    print(f"  memory {_memory():,.0f} MB, of which {at_rest:,.0f} MB before the first question", flush=True)
    store.close()


def _each_way(store: IndexStore, asked: list[tuple[np.ndarray, dict[str, float]]]) -> None:
    by_vector = [_timed(lambda v=v: store.search_vectors(v, top_k=TOP_K, with_text=False)) for v, _ in asked]
    by_terms = [_timed(lambda c=c: store.search_terms(c, top_k=TOP_K, with_text=False)) for _, c in asked]
    mean = _mean_cpu(lambda pair: store.search_vectors(pair[0], top_k=TOP_K, with_text=False), asked)
    print(f"  by meaning    {_shown(by_vector)}, CPU mean {mean:.2f}")
    mean = _mean_cpu(lambda pair: store.search_terms(pair[1], top_k=TOP_K, with_text=False), asked)
    print(f"  by words      {_shown(by_terms)}, CPU mean {mean:.2f}")


def _after_publications(
    store: IndexStore, url: str, asked: list[tuple[np.ndarray, dict[str, float]]]
) -> Iterable[tuple[float, float]]:
    """The times of the first question after each publication of another writer; what it published goes again."""
    writer = open_index(url)
    (part,) = parts(PART * PASSAGES)
    for number in range(PUBLICATIONS):
        store_part(writer, part, documents=PUBLISHED, prefix=f"new{number}-")
        yield _timed(lambda number=number: _ask(store, *asked[number % len(asked)], FILTERS[""]))
    for number in range(PUBLICATIONS):
        writer.delete([f"new{number}-{at}" for at in range(PUBLISHED)])
    writer.close()


def _ask(store: IndexStore, vector: np.ndarray, counts: dict[str, float], where: TagFilter) -> None:
    near = store.search_vectors(vector, top_k=TOP_K, model=MODEL, where=where, with_text=False)
    having = store.search_terms(counts, top_k=TOP_K, where=where, with_text=False)
    best = {hit.id: hit.score for hit in (*near[: READ - 2], *having[:2])}
    store.hits(best, found_by="", where=where)


def _measure_library(name: str, passages: int, worst: dict[str, list[float]], alike: bool) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LONGEST, resource.RLIM_INFINITY))
    at_rest, began = _memory(), time.process_time()
    try:
        search, kind = LIBRARIES[name](passages, alike)
    except ImportError as error:
        print(f"\n{name}: {error}")
        return
    print(f"\n{name}, {passages:,} passages, made in {time.process_time() - began:.1f} CPU-s")
    asked = [pair[kind] for pair in questions(len(worst[""]), alike=alike)]
    search(asked[0], TOP_K)
    shown = f"CPU mean {_mean_cpu(lambda each: search(each, TOP_K), asked):.2f} ms"
    if kind == 0:
        shares = [recall(search(each, TOP_K), least, TOP_K) for each, least in zip(asked, worst[""], strict=True)]
        shown += f"   recall {np.mean(shares):.4f}, least {min(shares):.2f}"
    print(f"  warm          {shown}\n  memory {_memory() - at_rest:,.0f} MB more", flush=True)


def _mean_cpu(ask: Callable[[Any], object], asked: Sequence[Any]) -> float:
    """CPU milliseconds per question, over whole rounds: the clock of the CPU is too coarse for short answers."""
    began, count = time.process_time(), 0
    while not count or time.process_time() - began < MEASURED:
        for each in asked:
            ask(each)
        count += len(asked)
    return (time.process_time() - began) / count * 1e3


def _timed(function: Callable[[], object]) -> tuple[float, float]:
    """Milliseconds that pass, and of CPU of this process."""
    began, cpu = time.perf_counter(), time.process_time()
    function()
    return (time.perf_counter() - began) * 1e3, (time.process_time() - cpu) * 1e3


def _shown(taken: list[tuple[float, float]]) -> str:
    passed, cpu = np.array(taken).T
    if len(taken) == 1:
        return f"CPU {cpu[0]:8.1f} ms, passed {passed[0]:8.1f} ms"
    cuts = (*np.percentile(cpu, [50, 95]), *np.percentile(passed, [50, 95]))
    return "CPU p50 {:7.1f} p95 {:7.1f} ms, passed p50 {:7.1f} p95 {:7.1f} ms".format(*cuts)


def _memory() -> float:
    return psutil.Process().memory_info().rss / 1e6


if __name__ == "__main__":
    main()
