"""`braid ingest`: documents in, searchable index out."""

import re
from typing import Annotated

import typer

from deployments.catalog import load_catalog
from deployments.commands.common import BudgetOption, IndexOption, JsonOption, RunnerOption, WorkersOption, reported
from deployments.commands.execution import EngineOption, ceiling_from, excluding, execute
from deployments.commands.sharded import execute_in_shards
from deployments.runs import Request
from deployments.setting_values import read_budget
from deployments.settings import load_settings
from deployments.source_file import load_sources
from handlers.tags import read_tags

_NAME = re.compile(r"[\w-]+")


@reported
def ingest(
    source: Annotated[
        str, typer.Argument(metavar="PATH_OR_URL_OR_NAME", help="A path, a URL, or a source of sources.yaml.")
    ],
    index: IndexOption = "default",
    pattern: Annotated[
        str | None,
        typer.Option(help="The files to ingest, as a glob: '**/*.pdf' matches all PDFs, also in subfolders."),
    ] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(help="Files to leave out besides hidden ones, as a glob; may be repeated.")
    ] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="NAME=VALUE", help="A tag of all these documents; may be repeated."),
    ] = None,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove documents from the index that are no longer there.")
    ] = False,
    max_prune_share: Annotated[
        float | None,
        typer.Option(min=0, max=1, metavar="SHARE", help="Refuse to remove more than this share (default 0.2)."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Process everything again, changed or not.")] = False,
    only_step: Annotated[
        str | None,
        typer.Option(
            metavar="STEP", help="Run only this step and the steps that depend on it again, for all documents."
        ),
    ] = None,
    ocr: Annotated[
        str | None,
        typer.Option(metavar="auto|always|never", help="Recognise the text of scans and pictures (default auto)."),
    ] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Try unreadable documents again, although they have not changed.")
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="End with a failure if a file is left out by format, size, "
            "permission or name; the others are ingested.",
        ),
    ] = False,
    shards: Annotated[
        int | None,
        typer.Option("--shards", min=1, metavar="N", help="Ingest in N deployment runs on the workers of a pool."),
    ] = None,
    work_pool: Annotated[
        str | None, typer.Option("--work-pool", metavar="POOL", help="With --shards: that pool (default braid).")
    ] = None,
    tolerated_failure: Annotated[
        str | None,
        typer.Option(
            "--tolerated-failure", metavar="N|SHARE", help="With --shards: how many may fail, such as 1 or 10%."
        ),
    ] = None,
    max_workers: WorkersOption = None,
    budget: BudgetOption = None,
    task_runner: RunnerOption = None,
    engine: EngineOption = "prefect",
    json_output: JsonOption = False,
) -> None:
    """Read documents, cut them into passages, embed and store them, so that `braid search` finds them.

    A document that cannot be read is set aside with its reason, and the others go on (exit code 3). Ingesting again
    processes new and changed documents only, and of those only the steps that are needed.

    Examples:

      braid ingest manuals/ --index manuals

      braid ingest git+https://example.com/team/handbook.git --index manuals --pattern '**/*.md'

      braid ingest handbook                                # a source that sources.yaml names

      braid ingest s3://bucket/contracts --index contracts --pattern '**/*.pdf' --max-workers 4

      braid ingest manuals/ --index manuals --prune --tag department=service

      braid ingest s3://bucket/archive --index all --shards 8     # on the workers of `braid up`, or of a work pool

      BRAID_S3_ENDPOINT_URL=http://localhost:8333 braid ingest s3://bucket --index all
    """
    settings = load_settings()
    catalog = load_catalog(settings)
    known = load_sources(settings).get(source) if _NAME.fullmatch(source) else None
    if known is not None and index == "default":
        index = known.index
    chosen: dict[str, object] = {
        "source": source if known is None else known.entry.place,
        "pattern": pattern,
        "exclude": excluding(catalog, "ingest", exclude) if exclude else None,
        "tags": read_tags(tag) if tag else None,
        "prune": prune or None,
        "max_prune_share": max_prune_share,
        "force": force or None,
        "only_step": only_step,
        "ocr": ocr,
        "retry_failed": retry_failed or None,
        "strict": strict or None,
    }
    request = Request(
        catalog.find("ingest"),
        {
            **(known.parameters if known is not None else {}),
            **{name: value for name, value in chosen.items() if value is not None},
        },
        index=index,
        ceiling=ceiling_from(max_workers),
        budget=read_budget(budget or ()),
        task_runner=task_runner,
        engine=engine,
    )
    if shards is not None:
        execute_in_shards(
            request,
            shards=shards,
            work_pool=work_pool,
            tolerated_failure=tolerated_failure,
            settings=settings,
            json_output=json_output,
        )
    execute(request, settings=settings, catalog=catalog, json_output=json_output)
