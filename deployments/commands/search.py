"""`braid search`: the passages that answer a question, in milliseconds, since Prefect is never imported."""

import time
from typing import Annotated

import typer

from deployments.catalog import load_catalog
from deployments.commands.common import CODE_OF_STATUS, IndexOption, JsonOption, emit, reported, stderr, stdout
from deployments.indexes import require_index
from deployments.runs import Searches, checked_question, require_chat
from deployments.screen import errors_json, explanation, failure_tables, hit_json, show_explanation, show_hits
from deployments.settings import load_settings

TagOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tag",
        "-t",
        metavar="NAME=VALUE",
        help="Only documents with this tag. The same name again: either value; another name: both.",
    ),
]
MultiQueryOption = Annotated[bool, typer.Option("--multi-query", help="Let a language model reword the question too.")]
HydeOption = Annotated[
    bool, typer.Option("--hyde", help="Let a language model invent an answer, and also search for passages near it.")
]


@reported
def search(
    question: Annotated[str, typer.Argument(help="The question in plain words, in quotes.")],
    index: IndexOption = "default",
    top: Annotated[int, typer.Option("--top", "-n", min=1, max=1000, help="The number of passages.")] = 5,
    tag: TagOption = None,
    multi_query: MultiQueryOption = False,
    hyde: HydeOption = False,
    explain: Annotated[bool, typer.Option("--explain", help="Show the reasons for the rank of each passage.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Answer a question with passages of an index, found by meaning, by words and by entities at once.

    Examples:

      braid search "Who sponsored the POSTGRES project?" --index demo

      braid search "notice period" --index contracts --tag department=legal --explain

      braid search "leap seconds" --index demo --top 3 --json | jq '.hits[].document'
    """
    settings = load_settings()
    require_index(settings, index)
    if multi_query or hyde:
        require_chat(settings)
    began = time.perf_counter()
    parameters = {
        "query": checked_question(question),
        "top_k": top,
        "filters": filters_of(tag),
        "multi_query": multi_query,
        "hyde": hyde,
        "explain": explain,
    }
    result = Searches(settings, load_catalog(settings)).run("search", parameters, index=index)
    hits = list(result.context.data.get("results", ()))
    explained = explanation(result.context.data, hits) if explain else None
    if json_output:
        emit(
            {
                "question": question,
                "index": index,
                "filters": parameters["filters"],
                "status": result.status,
                "seconds": result.seconds,
                "hits": [hit_json(rank, hit) for rank, hit in enumerate(hits, start=1)],
                "errors": errors_json(result),
                "cost": result.cost,
                **({"explanation": explained} if explained else {}),
            }
        )
    else:
        show_hits(stdout(), question, hits)
        if explained:
            show_explanation(stdout(), explained, hits)
        seconds = time.perf_counter() - began
        stderr().print(
            f"{len(hits)} passages in {seconds:.2f} s ({result.seconds * 1000:.0f} ms searching)", style="dim"
        )
        for part in failure_tables(result.outcomes):
            stderr().print(part)
    raise typer.Exit(CODE_OF_STATUS[result.status])


def filters_of(tags: list[str] | None) -> dict[str, list[str]]:
    """The filters of `--tag` options.

    Raises:
        InvalidTag: an option is not a tag.
    """
    from handlers.tags import read_tags

    return read_tags(tags or ())
