"""`braid index versions`, `switch`, `rollback` and `remove-version`: another version beside the active one."""

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from deployments.commands.common import FAILED, JsonOption, emit, reported, stderr, stdout
from deployments.commands.completion import complete_indexes
from deployments.commands.index import app, opened_index
from deployments.indexes import locate_index
from deployments.runs import compare_versions, load_handlers, make_services
from deployments.screen import plain_table
from deployments.setting_values import InvalidSettings
from deployments.settings import load_settings
from flows.errors import FatalError

if TYPE_CHECKING:
    from handlers.stores import IndexStore

NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The name of the index.", autocompletion=complete_indexes)
]
VersionArgument = Annotated[
    str, typer.Argument(metavar="VERSION", help="The version, as `braid index versions` lists it.")
]


@app.command()
@reported
def versions(name: NameArgument, json_output: JsonOption = False) -> None:
    """List the versions of an index: the active one, which questions use, and the one that is built or kept beside it.

    An ingestion with another model than that of the index builds a second version, and questions use it once it is
    complete. For another reader or chunking, name a version: `braid ingest FOLDER --index NAME@VERSION`.

    Examples:

      braid index versions manuals
    """
    with opened_index(locate_index(load_settings(), name, must_exist=True)) as store:
        found = [_described(store, each.name) for each in store.versions()]
    if json_output:
        emit({"index": name, "versions": found})
        return
    table = plain_table("version", "state", "model", "documents", "to do", "since", right=("documents", "to do"))
    for each in found:
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(each["switched_at"] or each["created_at"]))
        table.add_row(
            each["name"], each["state"], each["model"], f"{each['documents']:,}", f"{each['unfinished']:,}", since
        )
    stdout().print(table)


def _described(store: "IndexStore", version: str) -> dict[str, Any]:
    from handlers.stores import PinnedIndex

    pinned = PinnedIndex(store, version)
    described = next(each for each in store.versions() if each.name == version)
    unfinished = len(pinned.unfinished()) if described.state == "being built" else 0
    counts = {"documents": pinned.statistics()["documents"], "unfinished": unfinished}
    return {**asdict(described), "state": described.state, **counts}


@app.command()
@reported
def switch(
    name: NameArgument,
    version: VersionArgument,
    unfinished: Annotated[
        bool, typer.Option("--unfinished", help="Switch even if the version still lacks documents.")
    ] = False,
    worse: Annotated[
        bool, typer.Option("--worse", help="Switch even if the version answers the judged questions worse.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Switch questions to another version of an index; the previous version is kept for `rollback`.

    A version that lacks documents is refused, and one that answers the judged questions of the index worse (see the
    setting BRAID_JUDGED).

    Examples:

      braid index switch manuals 2
    """
    settings = load_settings()
    with opened_index(locate_index(settings, name, must_exist=True)) as store:
        described = _described(store, _known(store, version))
        active = store.versions()[0].name
        if described["unfinished"] and not unfinished:
            raise FatalError(
                f"version {version!r} lacks {described['unfinished']} documents: ingest their sources with its "
                "settings, or give --unfinished"
            )
        compared = None
        if active != version and not worse:
            load_handlers(settings)
            services = make_services(settings, name)
            try:
                compared = compare_versions(settings, services, name, active, version)
            finally:
                services.close()
        if compared is not None and compared.is_worse:
            raise FatalError(f"version {version!r} is worse ({compared}); give --worse to switch to it all the same")
        before = store.switch_version(version)
    _report(name, before, version, json_output=json_output, judged=str(compared) if compared is not None else "")


@app.command()
@reported
def rollback(name: NameArgument, json_output: JsonOption = False) -> None:
    """Switch questions back to the previous version, in less than a second; the newer version is kept.

    Documents that were ingested meanwhile are in both versions. The next ingestion with the older model makes the
    vectors that this version lacks.

    Examples:

      braid index rollback manuals
    """
    with opened_index(locate_index(load_settings(), name, must_exist=True)) as store:
        active, *others = store.versions()
        kept = next((each.name for each in others if each.state == "kept"), None)
        if kept is None:
            raise InvalidSettings(f"the index {name!r} has no earlier version to switch back to")
        store.switch_version(kept)
    _report(name, active.name, kept, json_output=json_output)


@app.command("remove-version")
@reported
def remove_version(name: NameArgument, version: VersionArgument, json_output: JsonOption = False) -> None:
    """Remove the version that is built or kept beside the active one, with the data that no other version uses.

    Examples:

      braid index remove-version manuals 1
    """
    with opened_index(locate_index(load_settings(), name, must_exist=True)) as store:
        store.remove_version(version)
    if json_output:
        emit({"index": name, "removed": version})
    else:
        stdout().print(f"Removed version {version} of {name}.")


def _known(store: "IndexStore", version: str) -> str:
    names = [each.name for each in store.versions()]
    if version not in names:
        raise FatalError(f"the index has no version {version!r}; it has {', '.join(map(repr, names))}")
    return version


def _report(name: str, before: str, after: str, *, json_output: bool, judged: str = "") -> None:
    if json_output:
        emit({"index": name, "before": before, "active": after, "judged": judged})
        return
    if before == after:
        stderr().print(f"Index {escape(name)}: questions already use version {escape(after)}.")
        raise typer.Exit(FAILED)
    stdout().print(
        f"Index {name}: questions use version {after} now{f' ({judged})' if judged else ''}; version {before} is kept.",
        highlight=False,
    )
