"""`braid index`: list, copy, compare and delete indexes."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from deployments.commands.common import FAILED, JsonOption, emit, reported, stderr, stdout
from deployments.commands.completion import complete_indexes
from deployments.indexes import index_names, locate_index, remove_index, require_index
from deployments.screen import plain_table
from deployments.setting_values import InvalidSettings
from deployments.settings import load_settings
from flows.errors import OrchestrationError

if TYPE_CHECKING:
    from handlers.stores import IndexStore

app = typer.Typer(no_args_is_help=True)
_COUNTED = ("documents", "failed", "chunks", "vectors", "terms", "entities", "relations", "artifacts")


@app.command("list")
@reported
def list_indexes(json_output: JsonOption = False) -> None:
    """List the indexes with their content and size.

    Indexes that cannot be opened are reported with the reason, and the exit code is 1.

    Examples:

      braid index list

      BRAID_INDEX_URL=postgresql://braid@db.example/braid braid index list --json
    """
    settings = load_settings()
    names = index_names(settings)
    if names is None:
        raise InvalidSettings(
            "indexes cannot be listed: BRAID_INDEX_URL keeps them in memory, so they end with their process"
        )
    found: list[dict[str, Any]] = []
    unusable: dict[str, str] = {}
    for name in names:
        try:
            with opened_index(settings.index_location(name)) as store:
                found.append({"index": name, **store.statistics(), "bytes": store.size_bytes()})
        except OrchestrationError as error:
            unusable[name] = str(error)
    if json_output:
        emit({"indexes": found, "unusable": unusable})
    else:
        _show_indexes(found, unusable)
    if unusable:
        raise typer.Exit(FAILED)


def _show_indexes(found: list[dict[str, Any]], unusable: dict[str, str]) -> None:
    for name, reason in unusable.items():
        stderr().print(f"[red]{escape(name)}[/]: {escape(reason)}")
    if not found:
        if not unusable:
            stdout().print("No indexes yet; `braid ingest FOLDER --index NAME` makes one.")
        return
    table = plain_table("index", *_COUNTED, "MB", right=(*_COUNTED, "MB"))
    table.columns[0].no_wrap = True
    for each in found:
        table.add_row(each["index"], *(f"{each[column]:,}" for column in _COUNTED), f"{each['bytes'] / 1e6:,.1f}")
    stdout().print(table)


@app.command()
@reported
def copy(
    original: Annotated[
        str,
        typer.Argument(
            metavar="FROM",
            help="The index to copy: its name, or its URL if it is elsewhere.",
            autocompletion=complete_indexes,
        ),
    ],
    target: Annotated[str, typer.Argument(metavar="TO", help="By name or URL; created if missing.")],
    add: Annotated[
        bool,
        typer.Option(
            "--add", help="Copy into an index that has documents already; documents that both have are replaced."
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Copy an index with its vectors, words, graph and tags, within a store or into another; then compare the two.

    Nothing is computed again. Images and other files stay where they are, and both indexes refer to them. After an
    interruption, run it again with --add. When the copy differs from the original, the exit code is 1.

    Examples:

      braid index copy manuals manuals-before-the-move

      braid index copy manuals 'postgresql://braid@db.example/braid?index=manuals'
    """
    settings = load_settings()
    from_url = locate_index(settings, original, must_exist=True)
    to_url = locate_index(settings, target, must_exist=False)
    if from_url == to_url:
        raise InvalidSettings(f"{original!r} and {target!r} are the same index")
    from handlers.stores import copy_index

    with opened_index(from_url) as origin, opened_index(to_url) as copied_to:
        if copied_to.document_states(limit=1) and not add:
            raise InvalidSettings(f"{_without_password(target)} has documents already; delete it first, or give --add")
        with _bar(sum(origin.statistics()[status] for status in ("processed", "failed"))) as progress:
            copied = copy_index(origin, copied_to, progress=progress)
    if json_output:
        emit(
            {
                "from": _without_password(original),
                "to": _without_password(target),
                "documents": copied.documents,
                "matches": copied.matches,
                "counts": {"from": copied.before, "to": copied.after},
                "fingerprints": list(copied.fingerprints),
            }
        )
    else:
        if copied.matches:
            stdout().print(
                f"Copied {copied.documents} documents; counts and content are the same ({copied.fingerprints[0][:12]})."
            )
        else:
            differing = [
                f"{name}: {copied.before[name]} and {copied.after[name]}"
                for name in copied.before
                if copied.before[name] != copied.after[name]
            ]
            stderr().print(
                f"Copied {copied.documents} documents, but the copy is not the same "
                f"({', '.join(differing) or 'other content'}): it has more than the original, or one was changed "
                "meanwhile.",
                style="red",
            )
    if not copied.matches:
        raise typer.Exit(FAILED)


@app.command()
@reported
def delete(
    name: Annotated[
        str,
        typer.Argument(
            help="The name of the index.",
            autocompletion=complete_indexes,
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Delete an index with its artifacts; the source files of its documents stay.

    Examples:

      braid index delete demo

      braid index delete demo --yes
    """
    settings = load_settings()
    require_index(settings, name)
    with opened_index(settings.index_location(name)) as store:
        documents = store.statistics()["documents"]
    if not yes:
        if json_output:
            raise InvalidSettings(f"the index {name!r} is not deleted: with --json, this needs --yes")
        typer.confirm(f"Delete the index {name!r} with {documents} documents?", abort=True, err=True)
    remove_index(settings, name)
    if json_output:
        emit({"deleted": name, "documents": documents})
    else:
        stdout().print(f"Deleted {name} ({documents} documents).")


@app.command()
@reported
def fingerprint(
    name: Annotated[
        str,
        typer.Argument(
            help="The index: its name, or its URL if it is elsewhere.",
            autocompletion=complete_indexes,
        ),
    ],
    json_output: JsonOption = False,
) -> None:
    """Print a hash of the content; two indexes with the same hash answer every query in the same way.

    Examples:

      braid index fingerprint manuals
    """
    with opened_index(locate_index(load_settings(), name, must_exist=True)) as store:
        found = store.fingerprint()
    if json_output:
        emit({"index": _without_password(name), "fingerprint": found})
    else:
        stdout().print(found)


@contextmanager
def opened_index(url: str) -> "Generator[IndexStore]":
    from handlers.stores import open_index  # numpy and SQLAlchemy take a while to import

    store = open_index(url)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def _bar(total: int) -> Generator[Any]:
    columns = (TextColumn("copying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=stderr(), transient=True) as progress:
        task = progress.add_task("copying", total=total)
        yield lambda done: progress.update(task, completed=done)


def _without_password(name_or_url: str) -> str:
    """The name, or the URL without its password."""
    scheme, separator, rest = name_or_url.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if separator else name_or_url
