"""Ingests a folder of real files with the real embedder, and checks their outcomes and that rare phrases find their
files.

    python -m bench.real_files FOLDER

Prints the balance (every listed file is processed or set aside, with its reason), the batches that failed, and how many
of 40 files, drawn at random, are the first hit for their rarest phrase: neighbouring words, one of which no other file
has. Files without such a word, such as those that the folder holds twice, are not drawn.
"""

import argparse
import collections
import random
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

from deployments.catalog import load_catalog
from deployments.runs import Request, Searches, make_services, run_pipeline
from deployments.settings import Settings
from flows.author import RunResult

_WORD = re.compile(r"[^\W\d_]{3,}")
_PHRASE = 8
"""The number of words of a phrase."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--files", type=int, default=40, help="how many files to look for")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--ocr", choices=["auto", "always", "never"], default="auto")
    parser.add_argument("--home", type=Path, help="keep the index there, and use one that is there")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="braid-bench-") as home:
        settings = Settings(home=arguments.home or Path(home))
        began = time.perf_counter()
        result = ingest(settings, arguments.folder, arguments.ocr)
        print(f"{result.status} after {time.perf_counter() - began:.0f} s")
        texts = report(settings, result)
        found = search(settings, texts, random.Random(arguments.seed), arguments.files)
    print(f"first hit: {sum(found.values())} of {len(found)}")
    for name, first in found.items():
        if not first:
            print(f"  not first: {name}")


def ingest(settings: Settings, folder: Path, ocr: str) -> RunResult:
    catalog = load_catalog(settings)
    parameters = {"source": str(folder), "ocr": ocr}
    request = Request(catalog.find("ingest"), parameters, index="bench", engine="inline", recorded=False)
    return run_pipeline(request, settings=settings, catalog=catalog)


def report(settings: Settings, result: RunResult) -> dict[str, list[str]]:
    """Print the balance; the passages of each document by its name."""
    services = make_services(settings, "bench")
    store = services["index_store"]
    rows = store.documents(limit=1_000_000)
    statuses = collections.Counter(row.status for row in rows)
    listed = result.context.data["changes"]["listed"]
    batches = [outcome for outcome in result.outcomes if outcome.kind == "item" and outcome.status != "succeeded"]
    print(f"{listed} listed = {statuses['processed']} processed + {statuses['failed']} set aside", end="")
    print("" if listed == statuses["processed"] + statuses["failed"] else "  (DOES NOT BALANCE)")
    print(f"{len(batches)} failed batches; {store.statistics()['chunks']} passages")
    for row in rows:
        if row.status == "failed":
            print(f"  set aside {row.name}: {row.reason}")
    for outcome in batches:
        print(f"  {outcome.id}: {outcome.reason}")
    texts = {row.name: [chunk.text for chunk in store.chunks_of(row.id)] for row in rows if row.status == "processed"}
    services.close()
    return texts


def search(settings: Settings, texts: Mapping[str, list[str]], dice: random.Random, most: int) -> dict[str, bool]:
    """Check for a sample of files whether each is the first hit for a phrase that only it contains."""
    searches = Searches(settings, load_catalog(settings))
    holders: dict[str, set[str]] = {}
    for name, passages in texts.items():
        for passage in passages:
            for word in words_of(passage):
                holders.setdefault(word, set()).add(name)
    names = sorted(texts)
    dice.shuffle(names)
    found: dict[str, bool] = {}
    services = make_services(settings, "bench")
    for name in names:
        if len(found) == most:
            break
        phrase = _rare_phrase(texts[name], holders)
        if phrase is None:
            continue
        ended = searches.run("search", {"query": phrase, "top_k": 5}, index="bench", services=services)
        hits = list(ended.context.data.get("results", ()))
        found[name] = bool(hits) and hits[0].name == name
        if not found[name]:
            print(f"  {phrase!r} of {name} finds {hits[0].name if hits else 'nothing'}")
    services.close()
    return found


def _rare_phrase(passages: list[str], holders: Mapping[str, set[str]]) -> str | None:
    """Neighbouring words of a file, with as many as can be that few other files have, and one that none has."""
    best, phrase = 0.0, None
    for passage in passages:
        tokens = passage.split()
        weights = [max((1 / len(holders[word]) for word in words_of(token)), default=0.0) for token in tokens]
        for start in range(max(1, len(tokens) - _PHRASE + 1)):
            part = weights[start : start + _PHRASE]
            if max(part, default=0.0) == 1.0 and sum(part) > best:
                best, phrase = sum(part), " ".join(tokens[start : start + _PHRASE])
    return phrase


def words_of(text: str) -> list[str]:
    """Folded words of three letters or more."""
    return [word.lower() for word in _WORD.findall(text)]


if __name__ == "__main__":
    main()
