"""The quality of each way of searching on collections with judgements, and whether known items are the first hit.

    python -m bench.search_quality FOLDER…

Each FOLDER holds `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and `qrels.tsv` (query,
document, score). Every document is one chunk. Of each way of searching nDCG@10 and MRR are printed, and the
probability that a difference to reciprocal ranks (k = 60) comes by chance: a paired randomisation test of nDCG@10 over
the questions, 10,000 times. Then known items, made from the collection itself: words and numbers that one document has,
names (see `handlers.compounds`), phrases of five words, and words with a typing mistake; how many documents come first
for theirs. Nothing is tuned to any of it: all settings are the defaults.
"""

import argparse
import random
import re
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from bench.cranfield import ingest, read_collection
from flows.author import Call
from flows.state import Identity, Services
from handlers.models import make_embedder
from handlers.records import Document, Hit
from handlers.retrieval import DEFAULT, measure, read_judgements, read_queries, run_questions, ways_of_searching
from handlers.retrieval.comparing import RRF
from handlers.retrieval.evaluation import ndcg
from handlers.stores import open_index
from handlers.text import compounds, terms

WANTED = {"words": 95, "names": 95, "numbers": 95, "phrases": 95, "misspelt words": 70}
_EACH = 100
_ROUNDS = 10_000
_WORD = re.compile(r"[a-z]{6,}")
# With the punctuation of a sentence or a hyphen beside it, a document has the number all the same; 45 is not in 0.45.
_NUMBER = re.compile(r"(?<!\w)(?<!\d[.,])\d{2,}(?!\w)(?![.,]\d)")


def chance(first: Sequence[float], second: Sequence[float], *, seed: int = 1) -> float:
    """The probability that two paired samples differ by chance as much as they do, by exchanging pairs at random.

    Source: Smucker, Allan & Carterette, A Comparison of Statistical Significance Tests for IR Evaluation, CIKM 2007.
    """
    differences = np.array(first) - np.array(second)
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(_ROUNDS, len(differences)))
    means = np.abs(signs @ differences) / max(len(differences), 1)
    return float((np.sum(means >= abs(differences.mean()) - 1e-12) + 1) / (_ROUNDS + 1))


def known_items(documents: Sequence[Document], dice: random.Random) -> dict[str, list[tuple[str, str]]]:
    """Pairs of a question and the one document that has it, by kind; at most 100 of each, drawn at random."""
    holders: dict[str, defaultdict[str, set[str]]] = {kind: defaultdict(set) for kind in WANTED}
    for each in documents:
        text = each.text.casefold()
        for word in _WORD.findall(text):
            holders["words"][word].add(each.id)
        for number in _NUMBER.findall(text):
            holders["numbers"][number].add(each.id)
        for name in compounds(each.text):
            holders["names"][name].add(each.id)
    holders["phrases"].update(_phrases(documents, dice))
    stems: defaultdict[str, set[str]] = defaultdict(set)
    for word, having in holders["words"].items():
        stems[terms(word)[0] if terms(word) else word] |= having
    for word, having in holders["words"].items():
        wrong = misspelt(word, dice)
        # Only words that no other document has in another form: of a misspelt word, no form can be told.
        if stems[terms(word)[0] if terms(word) else word] == having and wrong not in holders["words"]:
            holders["misspelt words"][wrong] = having
    items: dict[str, list[tuple[str, str]]] = {}
    for kind, held in holders.items():
        pairs = sorted((question, next(iter(having))) for question, having in held.items() if len(having) == 1)
        items[kind] = dice.sample(pairs, min(_EACH, len(pairs)))
    return items


def _phrases(documents: Sequence[Document], dice: random.Random) -> dict[str, set[str]]:
    """Five neighbouring words of some documents, in quotes, with the documents that have them."""
    texts = {each.id: " ".join(each.text.casefold().split()) for each in documents}
    found: dict[str, set[str]] = {}
    for text in dice.sample(sorted(texts.values()), min(2 * _EACH, len(texts))):
        words = text.split(" ")
        start = dice.randrange(max(1, len(words) - 5))
        phrase = " ".join(words[start : start + 5])
        if len(words) > 5 and '"' not in phrase:
            found[f'"{phrase}"'] = {name for name, other in texts.items() if phrase in other}
    return found


def misspelt(word: str, dice: random.Random) -> str:
    """The word with one letter left out, doubled, exchanged for another, or swapped with the next."""
    at = dice.randrange(len(word) - 1)
    kind = dice.randrange(4)
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at] + word[at:]
    if kind == 2:
        return word[:at] + dice.choice("abcdefghijklmnopqrstuvwxyz") + word[at + 1 :]
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def report(folder: Path, call: Call, documents: Sequence[Document], dice: random.Random) -> None:
    queries, judged = read_queries(folder / "queries.jsonl"), read_judgements(folder / "qrels.tsv")
    asked = {name: text for name, text in queries.items() if any(gain > 0 for gain in judged.get(name, {}).values())}
    ways = ways_of_searching(call)
    gains: dict[str, list[float]] = {}
    print(f"\n{folder.name}: {len(documents)} documents, {len(asked)} questions")
    print(f"{'search':<20}{'nDCG@10':>9}{'MRR':>8}{'p':>8}{'median ms':>11}")
    for way in (RRF, *(name for name in ways if name != RRF)):
        run = run_questions(ways[way], asked)
        ranked = run.documents(lambda hit: hit.document_id)
        gains[way] = [ndcg(ranked[each], judged[each]) for each in asked]
        means = measure(ranked, {each: judged[each] for each in asked})
        p = "" if way == RRF else f"{chance(gains[way], gains[RRF]):.4f}"
        print(f"{way:<20}{means['ndcg@10']:>9.4f}{means['mrr']:>8.3f}{p:>8}{run.median_ms:>11.1f}", flush=True)
    print_known_items(known_items(documents, dice), ways[DEFAULT])


def print_known_items(items: Mapping[str, Sequence[tuple[str, str]]], search: Callable[[str], list[Hit]]) -> None:
    print(f"{'known items':<20}{'asked':>9}{'first %':>9}{'wanted %':>9}")
    for kind, pairs in items.items():
        first = sum(bool(hits := search(question)) and hits[0].document_id == name for question, name in pairs)
        share = f"{100 * first / len(pairs):.0f}" if pairs else "-"
        print(f"{kind:<20}{len(pairs):>9}{share:>9}{WANTED[kind]:>9}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--embedder", default="bge-small-en-v1.5")
    parser.add_argument("--home", type=Path, help="keep the indexes there, and use those that are there")
    options = parser.parse_args()
    missing = [str(each) for each in options.folders if not (each / "corpus.jsonl").is_file()]
    if missing:
        parser.error(f"no corpus.jsonl in {', '.join(missing)}")
    with tempfile.TemporaryDirectory() as home:
        for folder in options.folders:
            path = (options.home or Path(home)) / f"{folder.name}.db"
            is_new = not path.exists()
            services = Services(
                {"index_store": partial(open_index, str(path)), "embedder": partial(make_embedder, options.embedder)}
            )
            call = Call(identity=Identity(index=folder.name, run_id="bench", services=services))
            documents = read_collection(folder)
            if is_new:
                ingest(documents, call)
            report(folder, call, documents, random.Random(1))
            services.close()
    sys.stdout.flush()


if __name__ == "__main__":
    main()
