"""`braid ask`: one question, an answer by a language model that cites passages."""

from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from deployments.catalog import load_catalog
from deployments.commands.common import CODE_OF_STATUS, IndexOption, JsonOption, emit, reported, stderr, stdout
from deployments.commands.search import (
    HydeOption,
    MultiQueryOption,
    TagOption,
    filters_of,
)
from deployments.indexes import require_index
from deployments.runs import Searches, checked_question, require_chat
from deployments.screen import did_you_mean, errors_json, failure_tables, found_json
from deployments.settings import load_settings
from flows.author import cost_text


@reported
def ask(
    question: Annotated[str, typer.Argument(help="In plain words; put it in quotes.")],
    index: IndexOption = "default",
    top: Annotated[int, typer.Option("--top", "-n", min=1, max=50, help="How many passages the model receives.")] = 8,
    tag: TagOption = None,
    multi_query: MultiQueryOption = False,
    hyde: HydeOption = False,
    json_output: JsonOption = False,
) -> None:
    """Let a language model answer a question from the passages of an index, with numbered citations.

    Needs BRAID_OPENAI_BASE_URL and BRAID_CHAT_MODEL. The passages that are found are sent to that endpoint. Citations
    of passages that were not given to the model are removed from its answer, and reported.

    Examples:

      braid ask "Who sponsored the POSTGRES project?" --index demo

      braid ask "Which notice period applies?" --index contracts --tag department=legal --json
    """
    settings = load_settings()
    require_index(settings, index)
    require_chat(settings)
    parameters = {
        "query": checked_question(question),
        "top_k": top,
        "filters": filters_of(tag),
        "multi_query": multi_query,
        "hyde": hyde,
    }
    result = Searches(settings, load_catalog(settings)).run("ask", parameters, index=index)
    answer, found = result.context.data.get("answer"), found_json(result.context.data)
    if json_output:
        emit(
            {
                "question": question,
                "index": index,
                "filters": parameters["filters"],
                "status": result.status,
                "seconds": result.seconds,
                "nothing_found": found["nothing_found"],
                "did_you_mean": found["did_you_mean"],
                "answer": answer.text if answer else None,
                "citations": [asdict(each) for each in answer.citations] if answer else [],
                "unknown_citations": list(answer.unknown) if answer else [],
                "cost": result.cost,
                "errors": errors_json(result),
            }
        )
    else:
        if found["did_you_mean"]:
            stderr().print(did_you_mean(found["did_you_mean"]))
        if answer:
            _show(answer, nothing=found["nothing_found"])
        cost = f", {cost_text(result.cost)}" if result.cost else ""
        stderr().print(f"{result.seconds:.2f} s{cost}", style="dim")
        for part in failure_tables(result.outcomes):
            stderr().print(part)
    raise typer.Exit(CODE_OF_STATUS[result.status])


def _show(answer: Any, *, nothing: bool) -> None:
    from handlers.retrieval import location_of

    stdout().print(Text(answer.text))
    if answer.citations:
        stdout().print()
    for each in answer.citations:
        stdout().print(Text.assemble((f"[{each.number}] ", "bold"), (location_of(each), "cyan")))
    if answer.unknown:
        numbers = ", ".join(map(str, answer.unknown))
        stderr().print(f"Citations of passages that the model was not given are removed: {numbers}.", style="yellow")
    if not answer.citations and not nothing:
        stderr().print("The answer cites no passage: check it against `braid search`.", style="yellow")
