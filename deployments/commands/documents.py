"""`braid documents`: the documents of an index, with those that failed and the reasons; delete and requeue them."""

from collections.abc import Generator
from contextlib import closing, contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.text import Text

from deployments.commands.common import IndexOption, JsonOption, emit, reported, stdout
from deployments.indexes import require_index
from deployments.runs import open_run_store
from deployments.screen import (
    STATUS_STYLE,
    DocumentEntry,
    DocumentTable,
    balance_table,
    local_time,
    plain_table,
)
from deployments.setting_values import InvalidSettings
from deployments.settings import load_settings
from flows.errors import UnknownName
from flows.storage import Storage

app = typer.Typer(invoke_without_command=True, no_args_is_help=False)
_STYLE = {"processed": "green", "failed": "bold red", "pending": "cyan", "processing": "cyan"} | STATUS_STYLE
_BY = "The document: its name, a unique ending of the name, its URI or its id."
NamesArgument = Annotated[list[str] | None, typer.Argument(metavar="[DOCUMENT]...", help=_BY)]
StatusOption = Annotated[
    str | None,
    typer.Option(
        metavar="STATUS", help="processed, failed, pending; of runs: processing (not finished), removed, renamed."
    ),
]
LimitOption = Annotated[int, typer.Option(min=1, max=10_000, help="The number of rows.")]
OffsetOption = Annotated[int, typer.Option(min=0, help="The number of rows to skip.")]


@app.callback()
@reported
def documents(
    context: typer.Context,
    index: IndexOption = "default",
    status: StatusOption = None,
    limit: LimitOption = 50,
    offset: OffsetOption = 0,
    json_output: JsonOption = False,
) -> None:
    """List, show, delete and requeue the documents of an index.

    Examples:

      braid documents --status failed --index manuals
    """
    if context.invoked_subcommand is None:
        list_documents(index=index, status=status, limit=limit, offset=offset, json_output=json_output)


@app.command("list")
@reported
def list_documents(
    index: IndexOption = "default",
    status: StatusOption = None,
    limit: LimitOption = 50,
    offset: OffsetOption = 0,
    json_output: JsonOption = False,
) -> None:
    """List documents by name: status, last step, last run, and the reason why they failed.

    Examples:

      braid documents list --index manuals --status failed

      braid documents list -i manuals --limit 1000 --offset 1000 --json
    """
    with _opened(index) as documents:
        found, counts = documents.page(status=status, limit=limit, offset=offset), documents.counts()
    if json_output:
        emit(
            {
                "index": index,
                "counts": counts,
                "limit": limit,
                "offset": offset,
                "documents": [asdict(each) for each in found],
            }
        )
        return
    columns = ("document", "status", "passages", "last step", "run", "runs", "updated", "why")
    table = plain_table(*columns, right=("passages", "runs"), overflow="fold")
    for each in found:
        table.add_row(
            Text(each.name),
            Text(each.status, _STYLE.get(each.status, "")),
            str(each.chunks),
            Text(each.step),
            each.run_id,
            str(each.runs or ""),
            local_time(each.updated),
            Text(each.reason),
        )
    stdout().print(table)
    stdout().print(", ".join(f"{number:,} {name}" for name, number in counts.items()), style="dim")


@app.command()
@reported
def status(
    index: IndexOption = "default",
    left_out: Annotated[
        bool, typer.Option("--left-out", help="List the objects that the sources leave out, with the reasons.")
    ] = False,
    rule: Annotated[
        str | None, typer.Option(metavar="RULE", help="With --left-out: of this rule only, for example format.")
    ] = None,
    limit: LimitOption = 50,
    offset: OffsetOption = 0,
    json_output: JsonOption = False,
) -> None:
    """Count the documents by status, and show the outcome of every object of every source.

    Examples:

      braid documents status --index manuals --json

      braid documents status --index manuals --left-out --rule format
    """
    if rule is not None and rule not in _rules():
        raise UnknownName("rule", rule, _rules())
    with _opened(index) as documents:
        counts, sources = documents.counts(), documents.sources()
        named = list(documents.left_out(rule, limit=limit, offset=offset)) if left_out or rule else []
    balances = [each.balance for each in sources if each.balance]
    if json_output:
        listed = [{"source": source, **asdict(each)} for source, each in named]
        emit({"index": index, "counts": counts, "sources": balances, **({"left_out": listed} if named else {})})
        return
    for name, number in counts.items():
        stdout().print(f"{number:>9,}  {name}", style=_STYLE.get(name, ""))
    if balances:
        stdout().print(balance_table(balances))
    if named:
        table = plain_table("left out", "rule", "why", "source", overflow="fold")
        for source, each in named:
            table.add_row(Text(each.name), Text(each.rule), Text(each.reason), Text(source, "dim"))
        stdout().print(table)


def _rules() -> list[str]:
    from handlers.sources import RULES

    return list(RULES)


@app.command("forget-source")
@reported
def forget_source(
    source: Annotated[str, typer.Argument(metavar="PATH_OR_URL", help="The path or URL, as it was ingested.")],
    index: IndexOption = "default",
    json_output: JsonOption = False,
) -> None:
    """Forget a source of an index; its documents stay, and belong to the sources around it.

    Examples:

      braid documents forget-source docs/drafts --index manuals
    """
    from handlers.sources import canonical_place

    uri = canonical_place(source)
    with _opened(index) as documents:
        known = [(each.uri, each.pattern) for each in documents.sources()]
        if uri not in dict(known):
            raise UnknownName("source", uri, list(dict(known)))
        forgotten = documents.store.forget_sources(each for each in known if each[0] == uri)
    if json_output:
        emit({"index": index, "forgotten": forgotten})
    else:
        stdout().print(f"Removed the source {uri} from the index; `braid ingest` adds it again.", markup=False)


@app.command()
@reported
def show(
    document: Annotated[str, typer.Argument(help=_BY)],
    index: IndexOption = "default",
    passages: Annotated[bool, typer.Option("--passages", help="Print its passages too.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Show one document: its metadata, summary, entities, tables, code blocks and images.

    Examples:

      braid documents show handbook/install.pdf --index manuals

      braid documents show handbook/install.pdf -i manuals --json | jq .artifacts
    """
    with _opened(index) as documents:
        found = documents.described(document)
    if json_output:
        emit(found)
        return
    _print_document(found, passages=passages)


@app.command()
@reported
def delete(
    documents: Annotated[list[str], typer.Argument(metavar="DOCUMENT...", help=_BY)],
    index: IndexOption = "default",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Delete documents from an index, with the facts that only they support; their source files stay.

    While such a file is there, the next ingestion adds its document again.

    Examples:

      braid documents delete old/handbook.pdf --index manuals --yes
    """
    settings = load_settings()
    with _opened(index) as opened:
        found = opened.find(documents)
        if not yes:
            if json_output:
                raise InvalidSettings("with --json, deleting needs --yes")
            typer.confirm(f"Delete {len(found)} documents from the index {index!r}?", abort=True, err=True)
        removed = opened.delete(found)
    storage = Storage(settings.storage_options)
    for each in found:
        storage.delete(storage.join(settings.artifacts_root, index, each.id), recursive=True)
    if json_output:
        emit({"index": index, "deleted": [each.name for each in found]})
    else:
        stdout().print(f"Deleted {removed} documents.")


@app.command()
@reported
def requeue(
    documents: NamesArgument = None,
    index: IndexOption = "default",
    status: StatusOption = None,
    json_output: JsonOption = False,
) -> None:
    """Let the next ingestion try failed documents again, although they have not changed.

    Examples:

      braid documents requeue --status failed --index manuals

      braid documents requeue scans/page-7.pdf --index manuals
    """
    if bool(documents) == bool(status):
        raise InvalidSettings("name the documents to try again, or give --status failed")
    if status not in (None, "failed"):
        raise InvalidSettings(f"only failed documents can be requeued, not those that are {status}")
    with _opened(index) as opened:
        found = opened.find(documents) if documents else _all_failed(opened)
        count = opened.requeue(found)
    if json_output:
        emit({"index": index, "requeued": count})
    else:
        stdout().print(f"{count} documents will be tried again by the next `braid ingest`.")


def _all_failed(documents: DocumentTable) -> list[DocumentEntry]:
    found: list[DocumentEntry] = []
    while page := documents.page(status="failed", limit=1000, offset=len(found)):
        found += page
    return found


def _print_document(found: dict[str, Any], *, passages: bool) -> None:
    console = stdout()
    console.print(Text.assemble((found["title"] or found["name"], "bold"), f"  {found['name']}"))
    console.print(
        Text.assemble(
            (found["status"], _STYLE.get(found["status"], "")),
            f", {found['chunks']} passages, {found['mime_type']}, ",
            f"run {found['run_id']}, {local_time(found['updated'])}",
        )
    )
    if found["reason"]:
        console.print(Text(found["reason"], "red"))
    if found["tags"]:
        console.print("tags: " + ", ".join(f"{name}={value}" for name, value in found["tags"]), markup=False)
    if found["metadata"]:
        console.print(
            "metadata: " + ", ".join(f"{name}={value}" for name, value in found["metadata"].items()), markup=False
        )
    if found["summary"]:
        console.print("\nSummary", style="bold")
        console.print(found["summary"], markup=False)
    if found["entities"]:
        console.print("\nEntities", style="bold")
        listed = [f"{each['name']} ({each['kind']}, {each['times']})" for each in found["entities"][:60]]
        console.print(", ".join(listed), markup=False)
    for kind, title in (("table", "Tables"), ("code", "Code blocks"), ("image", "Images")):
        chosen = [each for each in found["artifacts"] if each["kind"] == kind]
        if chosen:
            console.print(f"\n{title} ({len(chosen)})", style="bold")
        for each in chosen:
            page = f"page {each['page']}: " if each["page"] else ""
            console.print(Text(f"{page}{each['content'] or each['uri']}"))
    for each in found["passages"] if passages else ():
        console.print(Text.assemble((f"\n{each['position']}  {each['heading']}", "bold")))
        console.print(Text(each["text"]))


@contextmanager
def _opened(index: str) -> Generator[DocumentTable]:
    from handlers.stores import open_index  # numpy and SQLAlchemy take a while to import

    settings = load_settings()
    require_index(settings, index)
    with open_run_store(settings) as runs, closing(open_index(settings.index_location(index))) as store:
        yield DocumentTable(index, store, runs)
