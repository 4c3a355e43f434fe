"""`braid search`: the passages that answer a question, in milliseconds, since Prefect is never imported."""

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from deployments.commands.common import CODE_OF_STATUS, IndexOption, JsonOption, emit, reported, stderr, stdout
from deployments.nearby import search_nearby
from deployments.screen import show_explanation, show_hits
from deployments.settings import Settings, load_settings

if TYPE_CHECKING:
    from rich.console import RenderableType

TagOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        "-t",
        metavar="NAME=VALUE",
        help="Only documents with this tag. If repeated: any value of the same name, all of different names.",
    ),
]
MultiQueryOption = Annotated[bool, typer.Option("--multi-query", help="Let a language model reword the question too.")]
HydeOption = Annotated[
    bool, typer.Option("--hyde", help="Let a language model invent an answer, and also search for passages near it.")
]

LocalOption = Annotated[bool, typer.Option("--local", help="Search in this process, even if `braid serve` runs.")]


@reported
def search(
    question: Annotated[str, typer.Argument(help="The question in plain words, in quotes.")],
    index: IndexOption = "default",
    top: Annotated[int, typer.Option("--top", "-n", min=1, max=1000, help="The number of passages.")] = 5,
    tag: TagOption = None,
    multi_query: MultiQueryOption = False,
    hyde: HydeOption = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show the reasons for the rank of each passage.")] = False,
    local: LocalOption = False,
    json_output: JsonOption = False,
) -> None:
    """Answer a question with passages of an index, found by meaning and by words at once.

    "Quoted phrases" and names such as v2.3.1 come first if they occur exactly as typed. -word excludes, word* matches
    every ending, tag:value keeps to documents with that tag.

    A running `braid serve` or `braid up` with the same BRAID_HOME and settings answers, since its models are loaded.
    The answer is the same in this process, which is used if there is none or with --local.

    Examples:

      braid search "Who sponsored the POSTGRES project?" --index demo

      braid search "notice period" --index contracts --tag department=legal --explain

      braid search "leap seconds" --index demo --top 3 --json | jq '.hits[].document'
    """
    settings = load_settings()
    began = time.perf_counter()
    asked = {
        "question": question,
        "top": top,
        "filters": filters_of(tag),
        "explain": explain,
        "multi_query": multi_query,
        "hyde": hyde,
    }
    answer = None if local else search_nearby(settings, index, asked)
    failures: list[RenderableType] = []
    # If it failed, search in this process, which can show the error with its cause and cure.
    if answer is None or answer["errors"]:
        answer, failures = _search_here(settings, index, asked)
    if json_output:
        emit({name: value for name, value in answer.items() if name != "explanation" or explain})
    else:
        hits = answer["hits"]
        show_hits(stdout(), question, answer)
        if explain:
            show_explanation(stdout(), answer["explanation"], hits)
        found = f"{len(hits)} passage{'' if len(hits) == 1 else 's'}"
        seconds = time.perf_counter() - began
        stderr().print(f"{found} in {seconds:.2f} s ({answer['seconds'] * 1000:.0f} ms searching)", style="dim")
        for part in failures:
            stderr().print(part)
    raise typer.Exit(CODE_OF_STATUS[answer["status"]])


def _search_here(
    settings: Settings, index: str, asked: Mapping[str, Any]
) -> "tuple[dict[str, Any], list[RenderableType]]":
    """The answer of a search in this process, and its failures for display."""
    from deployments.catalog import load_catalog
    from deployments.indexes import require_index
    from deployments.runs import Searches, checked_question, require_chat
    from deployments.screen import errors_json, explanation, failure_tables, found_json

    require_index(settings, index)
    if asked["multi_query"] or asked["hyde"]:
        require_chat(settings)
    parameters = {
        "query": checked_question(asked["question"]),
        "top_k": asked["top"],
        **{name: asked[name] for name in ("filters", "multi_query", "hyde", "explain")},
    }
    result = Searches(settings, load_catalog(settings)).run("search", parameters, index=index)
    hits = list(result.context.data.get("results", ()))
    answer: dict[str, Any] = {
        "question": asked["question"],
        "index": index,
        "filters": asked["filters"],
        "status": result.status,
        "seconds": result.seconds,
        **found_json(result.context.data),
        "errors": errors_json(result),
        "cost": result.cost,
        "explanation": explanation(result.context.data, hits) if asked["explain"] else None,
    }
    return answer, failure_tables(result.outcomes)


def filters_of(tags: list[str] | None) -> dict[str, list[str]]:
    """The filters of `--tag` options.

    Raises:
        InvalidTag: an option is not a tag.
    """
    from handlers.tags import read_tags

    return read_tags(tags or ())
