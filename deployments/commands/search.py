"""`braid search`: one question, the passages that answer it. Never imports Prefect: an answer takes milliseconds."""

import time
from collections.abc import Iterable, Mapping
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from deployments.catalog import Catalog, load_catalog
from deployments.commands.common import CODE_OF_STATUS, IndexOption, JsonOption, emit, reported, stderr, stdout
from deployments.indexes import require_index
from deployments.parameters import InvalidParameters
from deployments.passages import excerpt, marked
from deployments.running import run_pipeline
from deployments.settings import Settings, load_settings
from deployments.views import failure_tables
from flows.results import RunResult
from flows.services import Services


@reported
def search(
    question: Annotated[str, typer.Argument(help="In plain words; put it in quotes.")],
    index: IndexOption = "default",
    top: Annotated[int, typer.Option("--top", "-n", min=1, max=1000, help="How many passages.")] = 5,
    json_output: JsonOption = False,
) -> None:
    """Answer a question with the passages of an index: by meaning, by words and by entities at once.

    Examples:

      braid search "Who sponsored the POSTGRES project?" --index demo

      braid search "leap seconds" --index demo --top 3 --json | jq '.hits[].document'
    """
    settings = load_settings()
    require_index(settings, index)
    if not question.strip():
        raise InvalidParameters("the question is empty")
    began = time.perf_counter()
    result = ask(question, settings=settings, catalog=load_catalog(settings), index=index, top=top)
    hits = list(result.context.data.get("results", ()))
    if json_output:
        emit({
            "question": question, "index": index, "status": result.status, "seconds": result.seconds,
            "hits": [hit_json(rank, hit) for rank, hit in enumerate(hits, start=1)],
            "errors": [{"step": outcome.id, "message": outcome.error.message} for outcome in result.errors
                       if outcome.error],
        })  # fmt: skip
    else:
        show_hits(stdout(), question, hits)
        seconds = time.perf_counter() - began
        stderr().print(
            f"{len(hits)} passages in {seconds:.2f} s ({result.seconds * 1000:.0f} ms searching)", style="dim"
        )
        for part in failure_tables(result):
            stderr().print(part)
    raise typer.Exit(CODE_OF_STATUS[result.status])


def ask(
    question: str, *, settings: Settings, catalog: Catalog, index: str, top: int, services: Services | None = None
) -> RunResult:
    """Run the search pipeline by direct calls; nothing is recorded."""
    return run_pipeline(
        catalog.find("search"), {"query": question, "top_k": top}, settings=settings, catalog=catalog, index=index,
        engine="inline", record=False, services=services,
    )  # fmt: skip


def show_hits(console: Console, question: str, hits: Iterable[Any]) -> None:
    """Document, heading and the stretch that answers, with the question's words marked."""
    empty = True
    for rank, hit in enumerate(hits, start=1):
        empty = False
        place = f"  page {hit.page}" if hit.page else ""
        console.print(Text.assemble((f"{rank}. ", "dim"), (hit.name or hit.document_id, "bold cyan"), (place, "dim"),
                                    (f"  {hit.score:.4f} {hit.source}", "dim")))  # fmt: skip
        if hit.heading:
            console.print(Padding(Text(hit.heading, "italic"), (0, 0, 0, 3), expand=False))
        console.print(Padding(marked(excerpt(hit.content, question), question), (0, 0, 1, 3), expand=False))
    if empty:
        console.print("Nothing found.")


def hit_json(rank: int, hit: Any) -> Mapping[str, Any]:
    return {
        "rank": rank, "document": hit.name, "document_id": hit.document_id, "chunk_id": hit.id,
        "heading": hit.heading, "page": hit.page, "start": hit.start, "end": hit.end, "score": hit.score,
        "source": hit.source, "scores": dict(hit.scores), "text": hit.content,
    }  # fmt: skip
