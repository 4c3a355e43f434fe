"""`braid deploy`: pipelines and their schedules as deployments on a Prefect server."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from deployments.catalog import Catalog, load_catalog
from deployments.commands.common import JsonOption, emit, reported, stderr, stdout
from deployments.commands.completion import complete_pipelines
from deployments.server.connecting import connect
from deployments.settings import WORK_POOL, Settings, load_settings

if TYPE_CHECKING:
    from deployments.server.deploying import DeploymentChange

_SIGNS = {"create": ("+", "green"), "update": ("~", "yellow"), "remove": ("-", "red")}


@reported
def deploy(
    name: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[NAME]...", help="Pipelines of the catalog; without any, all.", autocompletion=complete_pipelines
        ),
    ] = None,
    work_pool: Annotated[
        str | None,
        typer.Option(
            "--work-pool",
            metavar="POOL",
            help="The pool whose workers run them, created if missing. Default: each deployment "
            f"keeps its pool, new ones go to {WORK_POOL}.",
        ),
    ] = None,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Remove deployments of this project whose pipelines are no longer in the catalog."
        ),
    ] = False,
    take_over: Annotated[
        bool, typer.Option("--take-over", help="Take over deployments that belong to another project or clone.")
    ] = False,
    with_folders: Annotated[
        bool,
        typer.Option(
            "--with-folders", help="Write BRAID_PIPELINES_DIRS and BRAID_HANDLER_MODULES into the deployments."
        ),
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the changes, and change nothing.")] = False,
    json_output: JsonOption = False,
) -> None:
    """Make each pipeline a deployment on the Prefect server, with its form and the schedules of schedules.yaml.

    The server is that of PREFECT_API_URL, else that of `braid up`. Deployments that are up to date are left alone. Runs
    find their settings (BRAID_…) in the environment of the worker.

    Examples:

      braid deploy

      braid deploy ingest search --work-pool nightly

      braid deploy --dry-run
    """
    settings = load_settings()
    catalog = load_catalog(settings)
    url = connect(settings)
    from deployments.server.deploying import deploy as bring  # imports Prefect, which takes seconds

    changes = bring(
        name or (),
        catalog=catalog,
        settings=settings,
        work_pool=work_pool,
        prune=prune,
        take_over=take_over,
        with_folders=with_folders,
        dry_run=dry_run,
    )
    for path, problems in catalog.broken.items():
        stderr().print(f"left out: {path}: {problems}", style="yellow")
    if not with_folders:
        _warn_of_lacking(name or (), catalog, settings, server=url, pool=work_pool)
    if json_output:
        emit({"server": url, "dry_run": dry_run, "changes": [vars(change) for change in changes]})
        return
    show_changes(changes)
    if not changes:
        stdout().print(f"nothing to change on {url}")
    elif dry_run:
        stdout().print("nothing was changed (--dry-run)", style="dim")


def _warn_of_lacking(
    names: Sequence[str], catalog: Catalog, settings: Settings, *, server: str, pool: str | None
) -> None:
    """Warn if workers lack folders or modules, because their runs could not find the pipelines."""
    from deployments.server.worker_environment import lacking, needed_by

    chosen = [catalog.find(name) for name in names] or list(catalog.loaded.values())
    trouble = lacking(needed_by(chosen, settings), settings, server=server, pool_is_local=pool in (None, WORK_POOL))
    if trouble:
        stderr().print(Text(f"warning: {trouble}", style="yellow"))


def show_changes(changes: "Sequence[DeploymentChange]") -> None:
    """The changes as a diff."""
    console = stdout()
    for change in changes:
        sign, style = _SIGNS[change.action]
        console.print(Text(f"{sign} {change.what}", style=style))
        for line in change.details:
            console.print(Text(f"    {line}"))
