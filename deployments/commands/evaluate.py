"""`braid evaluate`: the quality of every way of searching an index, measured on judged questions."""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import typer

from deployments.commands.common import FAILED, IndexOption, JsonOption, emit, reported, stderr, stdout
from deployments.indexes import require_index
from deployments.runs import for_a_question, load_handlers, make_services
from deployments.screen import plain_table
from deployments.setting_values import InvalidSettings, index_name
from deployments.settings import load_settings
from flows.author import Call
from flows.errors import OrchestrationError
from flows.state import Identity

MEASURES = ("ndcg@10", "recall@10", "recall@100", "mrr")


@reported
def evaluate(
    queries: Annotated[
        Path, typer.Option("--queries", help="The questions: JSON lines (_id, text), or lines of id, tab, question.")
    ],
    qrels: Annotated[
        Path,
        typer.Option(
            "--qrels", help="The judgements: lines of TREC (query 0 document gain), or of query, document, gain."
        ),
    ],
    index: IndexOption = "default",
    rerank: Annotated[bool, typer.Option("--rerank", help="Also evaluate with the reranker, which is slow.")] = False,
    at_least: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MEASURE=VALUE",
            help="Exit with code 1 if the best search scores lower: ndcg@10=0.6; may be repeated.",
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Measure every way of searching an index on judged questions: nDCG@10, recall@10 and @100, MRR.

    Also measure how near relevant passages are to their questions, so that a search can tell when it found nothing.

    Judgements name documents as the index does (`braid search --json` shows `document`), with or without their last
    extension, or by id. A document counts where its best passage stands among 100 passages.

    Examples:

      braid evaluate --queries questions.jsonl --qrels judgements.txt --index manuals

      braid evaluate --queries questions.jsonl --qrels judgements.txt -i manuals --at-least ndcg@10=0.6     # in CI
    """
    wanted = _read_measures(at_least or ())
    settings = load_settings()
    require_index(settings, index)
    load_handlers(settings)
    from handlers.retrieval import (
        DEFAULT,
        InvalidJudgements,
        judged_name_of,
        measure,
        read_judgements,
        read_queries,
        run_questions,
        ways_of_searching,
    )

    questions, judged = read_queries(queries), read_judgements(qrels)
    asked = {name: text for name, text in questions.items() if name in judged}
    if not asked:
        raise InvalidJudgements(
            f"no id of {queries} (for example {next(iter(questions))!r}) is judged in {qrels} "
            f"(for example {next(iter(judged))!r}); both must use the same ids"
        )
    named = {document for gains in judged.values() for document in gains}

    judged_name = judged_name_of(judged)
    services = make_services(settings, index)
    try:
        call = Call(identity=Identity(index=index_name(index), services=for_a_question(services, index)))
        rows: dict[str, dict[str, Any]] = {}
        seen: set[str] = set()
        unrelated_below: float | None = None
        for way, search in ways_of_searching(call, reranked=rerank).items():
            run = run_questions(search, asked)
            documents = run.documents(judged_name)
            seen.update(name for ranked in documents.values() for name in ranked)
            figures = measure(documents, {name: judged[name] for name in asked})
            if way == DEFAULT:
                unrelated_below = run.lowest_relevant(judged_name, judged)
            rows[way] = {**figures, "median_ms": run.median_ms, "answered": run.answered}
    finally:
        services.close()
    if any(row["answered"] for row in rows.values()) and not seen & named:
        raise OrchestrationError(
            f"the index {index!r} has none of the judged documents (for example {min(named)!r}); it found "
            f"{min(seen)!r}; the judgements must name documents as the index does"
        )
    missed = [
        f"{name} is {best:.3f} at best, less than {least:g}"
        for name, least in wanted.items()
        if (best := max((row[name] for row in rows.values()), default=0.0)) < least
    ]
    if json_output:
        counts = {"questions": len(asked), "unjudged": len(questions) - len(asked)}
        emit({"index": index, **counts, "searches": rows, "unrelated_below": unrelated_below, "missed": missed})
        _end(missed)
        return
    numbers = ("nDCG@10", "recall@10", "recall@100", "MRR", "median ms", "answered")
    table = plain_table("search", *numbers, right=numbers)
    for way, row in rows.items():
        table.add_row(way, *(f"{row[name]:.3f}" for name in MEASURES), f"{row['median_ms']:.1f}", str(row["answered"]))
    stdout().print(table)
    left = f"; {len(questions) - len(asked)} have no judgement and were not asked" * (len(asked) < len(questions))
    stderr().print(f"{len(asked)} questions{left}", style="dim")
    if unrelated_below is not None:
        stderr().print(
            f"For 99 of 100 questions, the best relevant passage has a cosine of {unrelated_below:.2f} or more. A "
            f"search pipeline with unrelated_below: {unrelated_below:.2f} finds nothing if no word of the question "
            "occurs and every passage has a lower cosine.",
            style="dim",
        )
    for each in missed:
        stderr().print(each, style="bold red")
    _end(missed)


def _end(missed: list[str]) -> None:
    if missed:
        raise typer.Exit(FAILED)


def _read_measures(texts: Iterable[str]) -> dict[str, float]:
    """`ndcg@10=0.6` texts as values by measure.

    Raises:
        InvalidSettings: one is no measure with a number between 0 and 1.
    """
    found: dict[str, float] = {}
    for text in texts:
        name, _, value = (part.strip() for part in text.partition("="))
        try:
            found[name.lower()] = float(value)
        except ValueError:
            found[name.lower()] = -1.0
        if name.lower() not in MEASURES or not 0 <= found[name.lower()] <= 1:
            raise InvalidSettings(
                f"--at-least {text!r}: write one of {', '.join(MEASURES)} and a value, as ndcg@10=0.6"
            )
    return found
