"""`braid demo`: ingestion and search of real documents, in a few minutes."""

import json
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from deployments.catalog import load_catalog
from deployments.commands.common import CODE_OF_STATUS, FAILED, JsonOption, WorkersOption, emit, reported, stdout
from deployments.commands.execution import EngineOption, ceiling_from, excluding, run_watched
from deployments.indexes import remove_index
from deployments.runs import Request, Searches, make_services
from deployments.screen import failure_tables, found_json, result_json, show_hits, step_table
from deployments.setting_values import InvalidSettings
from deployments.settings import load_settings
from flows.author import RunResult

INDEX = "demo"
DOCUMENTS = Path(__file__).parents[2] / "examples" / "documents"
NOT_DOCUMENTS = ("PROVENANCE.md", "LICENSES/**", "questions.json")
QUESTIONS = 3
_COUNTED = ("documents", "chunks", "vectors", "entities", "relations", "artifacts", "summaries")


@reported
def demo(
    questions: Annotated[int, typer.Option(min=0, help="How many questions to ask.")] = QUESTIONS,
    max_workers: WorkersOption = None,
    engine: EngineOption = "prefect",
    json_output: JsonOption = False,
) -> None:
    """Ingest the example documents into a new index `demo`, and answer questions from it.

    One of the documents is broken on purpose: it is set aside and the others go on, so the ingestion ends partial.
    The demo itself still ends with exit code 0.

    Afterwards, try:

      braid search "How do leap seconds work?" --index demo

      braid runs show RUN
    """
    if not DOCUMENTS.is_dir():
        raise InvalidSettings(f"the example documents are not at {DOCUMENTS}; run the demo from a clone of the project")
    settings = load_settings()
    catalog = load_catalog(settings)
    console = stdout()
    remove_index(settings, INDEX)
    parameters = {"source": str(DOCUMENTS), "exclude": excluding(catalog, "ingest", NOT_DOCUMENTS)}
    request = Request(catalog.find("ingest"), parameters, index=INDEX, ceiling=ceiling_from(max_workers), engine=engine)
    result = run_watched(request, settings=settings, catalog=catalog, quiet=json_output)
    services = make_services(settings, INDEX)
    searches = Searches(settings, catalog)
    answers: list[dict[str, Any]] = []
    try:
        counts: dict[str, int] = services["index_store"].statistics()
        for asked in _questions()[:questions] if result.status != "failed" else ():
            question = asked["question"]
            answer = searches.run("search", {"query": question, "top_k": 1}, index=INDEX, services=services)
            found = found_json(answer.context.data)
            answers.append(
                {
                    "question": question,
                    "seconds": answer.seconds,
                    "status": answer.status,
                    "expected_document": asked["document"],
                    "hits": found["hits"],
                }
            )
            if not json_output:
                console.print()
                console.print(Text.assemble(("? ", "bold green"), (question, "bold")))
                show_hits(console, question, found)
    finally:
        services.close()
    if json_output:
        emit({"run": result_json(result, index=INDEX), "index": counts, "answers": answers})
    else:
        _show_summary(console, result, counts, answers)
    worst = any(answer["status"] == "failed" for answer in answers)
    raise typer.Exit(FAILED if result.status == "failed" or worst else CODE_OF_STATUS["succeeded"])


def _show_summary(console: Console, result: RunResult, counts: dict[str, int], answers: list[dict[str, Any]]) -> None:
    console.print(step_table(result.outcomes))
    for part in failure_tables(result.outcomes):
        console.print(part)
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(justify="right")
    for name in _COUNTED:
        table.add_row({"chunks": "passages (chunks)"}.get(name, name), f"{counts.get(name, 0):,}")
    table.add_row("set aside", str(len(result.failures)))
    table.add_row("steps failed", str(len(result.errors)))
    table.add_row("time", f"{result.seconds:.1f} s")
    table.add_row("work of all steps added up", f"{result.busy_seconds:.1f} s")
    table.add_row("saved by running in parallel, at most", f"{result.time_saved:.1f} s")
    if answers:
        table.add_row("time per question (median)", f"{median(a['seconds'] for a in answers) * 1000:.0f} ms")
    console.print()
    console.print(table)
    # The sum does not measure a sequential run, because a step's time includes waits for a processor core.
    console.print(
        "\nSteps that share a processor also count the time that they wait for it, so the "
        "real saving may be smaller; compare with "
        "braid demo --max-workers 1.",
        style="dim",
    )
    console.print(f"Every step: braid runs show {result.run_id}", style="dim")


def _questions() -> list[dict[str, str]]:
    return json.loads((DOCUMENTS / "questions.json").read_text(encoding="utf-8"))
