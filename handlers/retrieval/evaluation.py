"""The quality of a search: measures its rankings against judgements of which documents answer which question."""

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from math import log2
from pathlib import Path
from statistics import fmean

from flows.errors import OrchestrationError
from handlers.records import Hit


class InvalidJudgements(OrchestrationError, ValueError):
    """A file of queries or judgements that cannot be read; the message names the line and the expected form."""


def ndcg(ranked: Sequence[str], gains: Mapping[str, float], *, at: int = 10) -> float:
    """Normalised discounted cumulative gain of the first `at` results, with the judged scores as gains.

    The sum of gain / log2(rank + 1), rank counted from 1, over that of the ideal order.

    Source: Järvelin & Kekäläinen, TOIS 2002, in the form of trec_eval's `ndcg_cut` (linear gains).
    """
    ideal = sorted((gain for gain in gains.values() if gain > 0), reverse=True)[:at]
    best = sum(gain / log2(rank + 1) for rank, gain in enumerate(ideal, start=1))
    got = sum(max(gains.get(name, 0.0), 0.0) / log2(rank + 1) for rank, name in enumerate(ranked[:at], start=1))
    return got / best if best else 0.0


def recall(ranked: Sequence[str], gains: Mapping[str, float], *, at: int = 100) -> float:
    """The share of the relevant documents (gain above 0) that are among the first `at` results. Source: trec_eval's
    `recall`.
    """
    relevant = {name for name, gain in gains.items() if gain > 0}
    return len(relevant & set(ranked[:at])) / len(relevant) if relevant else 0.0


def reciprocal_rank(ranked: Sequence[str], gains: Mapping[str, float]) -> float:
    """1 / the rank of the first relevant document, 0 if there is none; its mean is MRR.

    Source: Voorhees, The TREC-8 Question Answering Track Report, 1999.
    """
    return next((1 / rank for rank, name in enumerate(ranked, start=1) if gains.get(name, 0) > 0), 0.0)


def measure(ranked: Mapping[str, Sequence[str]], judged: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The means over all questions that have a relevant document; a question without a ranking counts 0.

    `ranked` has document ids by question, best first, each once.
    """
    asked = [question for question, gains in judged.items() if any(gain > 0 for gain in gains.values())]
    if not asked:
        return {"ndcg@10": 0.0, "recall@10": 0.0, "recall@100": 0.0, "mrr": 0.0}

    def found(question: str) -> Sequence[str]:
        return ranked.get(question, ())

    return {
        "ndcg@10": fmean(ndcg(found(each), judged[each]) for each in asked),
        "recall@10": fmean(recall(found(each), judged[each], at=10) for each in asked),
        "recall@100": fmean(recall(found(each), judged[each]) for each in asked),
        "mrr": fmean(reciprocal_rank(found(each), judged[each]) for each in asked),
    }


def judged_name_of(judged: Mapping[str, Mapping[str, float]]) -> Callable[[Hit], str]:
    """A function from a hit to the name that judgements have for its document: as the index names it, with or without
    its last extension, or by id."""
    named = {document for gains in judged.values() for document in gains}

    def name_of(hit: Hit) -> str:
        stem = hit.name.rpartition(".")[0]
        return next((name for name in (hit.name, hit.document_id, stem) if name in named), hit.name)

    return name_of


def read_queries(path: Path) -> dict[str, str]:
    """Questions by id, from JSON lines (`_id` or `id`, and `text` or `query`) or lines of id, tab, question.

    Raises:
        InvalidJudgements: a line is neither, or an id comes twice.
    """
    found: dict[str, str] = {}
    for number, line in _lines(path):
        where = f"{path}:{number}"
        if line.lstrip().startswith("{"):
            name, text = _query_of(line, where)
        else:
            name, tab, text = line.partition("\t")
            if not tab:
                raise InvalidJudgements(f"{where}: expected an id, a tab and a question, or a JSON object")
            if number == 1 and name.strip().lower() in ("id", "_id", "query-id", "qid"):
                continue
        name, text = name.strip(), text.strip()
        if not name or not text:
            raise InvalidJudgements(f"{where}: the {'question' if name else 'id'} is empty")
        if name in found:
            raise InvalidJudgements(f"{where}: the id {name!r} comes a second time; each question needs its own")
        found[name] = text
    if not found:
        raise InvalidJudgements(f"{path} has no questions")
    return found


def _query_of(line: str, where: str) -> tuple[str, str]:
    try:
        record = json.loads(line)
    except ValueError as error:
        raise InvalidJudgements(f"{where}: not JSON: {error}") from error
    name, text = record.get("_id", record.get("id")), record.get("text", record.get("query"))
    if name is None or not isinstance(text, str):
        raise InvalidJudgements(f"{where}: needs '_id' (or 'id') and 'text' (or 'query'), not {sorted(record)}")
    return str(name), text


def read_judgements(path: Path) -> dict[str, dict[str, float]]:
    """Gains by question and document, from TREC's lines (question, iteration, document, gain) or BEIR's (question,
    document, gain; separated by tabs, below a line of headings, further columns allowed).

    Raises:
        InvalidJudgements: a line is neither.
    """
    found: dict[str, dict[str, float]] = defaultdict(dict)
    beir = False
    for number, line in _lines(path):
        parts = [part.strip() for part in line.split("\t")] if beir or "query-id" in line else line.split()
        if number == 1 and "query-id" in parts[0].lower():
            beir = True
            continue
        if not beir and len(parts) == 4:
            question, _, document, gain = parts
        elif len(parts) >= 3 and (beir or len(parts) == 3):
            question, document, gain = parts[:3]
        else:
            raise InvalidJudgements(
                f"{path}:{number}: expected question, iteration, document, gain (TREC), not {line!r}"
            )
        try:
            found[question][document] = float(gain)
        except ValueError:
            raise InvalidJudgements(f"{path}:{number}: the gain {gain!r} is not a number") from None
    if not found:
        raise InvalidJudgements(f"{path} has no judgements")
    return dict(found)


def _lines(path: Path) -> list[tuple[int, str]]:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidJudgements(f"{path} cannot be read: {error}") from error
    return [(number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
