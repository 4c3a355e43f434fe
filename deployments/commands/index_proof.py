"""`braid index prove`: compares an index with its documents made again, and repairs differences."""

import time
from dataclasses import asdict
from typing import Annotated

import typer
from rich.markup import escape

from deployments.catalog import load_catalog
from deployments.commands.common import FAILED, JsonOption, emit, reported, stderr, stdout
from deployments.commands.completion import complete_indexes
from deployments.commands.index import app
from deployments.indexes import require_index
from deployments.proving import ProofReport, prove_index
from deployments.screen import plain_table
from deployments.setting_values import InvalidSettings, index_name
from deployments.settings import load_settings

_SHOWN = 50


@app.command()
@reported
def prove(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The name of the index.", autocompletion=complete_indexes)
    ],
    sample: Annotated[
        str | None,
        typer.Option(
            metavar="N%", help="Check only this share of the documents, a different one each day (for nightly runs)."
        ),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair the documents that differ, and nothing else.")
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Process documents again and compare: texts, offsets, vectors, words, facts, tags, and how each was made.

    Every row is looked through as well: vectors by their checksums, rows that belong to nothing, passages that no
    search finds. The exit code is 1 if something differs and is not repaired. A document whose source has changed
    since, or is gone, is counted and not compared. Each document is made by the pipeline and the parameters that made
    it, as the index has noted with its source, and with the settings of now: where another reader is set, how it was
    made differs.

    Examples:

      braid index prove manuals

      braid index prove manuals --sample 5% --repair
    """
    settings = load_settings()
    require_index(settings, index_name(name))
    share = 1.0 if sample is None else _share(sample)
    day = time.strftime("%Y-%m-%d")
    found = prove_index(settings, load_catalog(settings), name, share=share, seed=day, repair=repair)
    if json_output:
        emit({**asdict(found), "holds": found.holds})
    else:
        _show(found, repaired=repair)
    if not found.holds and not repair:
        raise typer.Exit(FAILED)


def _share(text: str) -> float:
    """`5%` or `0.05` as a share.

    Raises:
        InvalidSettings: it is neither, or not above 0 and at most 1.
    """
    try:
        share = float(text.rstrip("% ")) / (100 if text.rstrip().endswith("%") else 1)
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        raise InvalidSettings(f"--sample {text!r}: write a share above 0, as 5%")
    return share


def _show(found: ProofReport, *, repaired: bool) -> None:
    if found.flaws or found.differences:
        table = plain_table("document", "part", "difference")
        for flaw in found.flaws[:_SHOWN]:
            table.add_row(flaw.document_id, f"{flaw.kind} in {flaw.table}", flaw.detail)
        for each in found.differences[:_SHOWN]:
            table.add_row(each.document_id, each.facet, each.detail)
        stdout().print(table)
    count = len(found.flaws) + len(found.differences)
    ended = "all equal the stored ones" if not count else f"{count:,} differences"
    stdout().print(
        f"{found.documents:,} documents processed again and compared: "
        f"{ended}{', repaired' if count and repaired else ''}."
    )
    if found.changed:
        stderr().print(
            f"{found.changed:,} have changed at their sources since; `braid ingest` takes them.", style="dim"
        )
    if found.unproven:
        names = ", ".join(map(escape, found.unproven[:5]))
        stderr().print(f"{len(found.unproven):,} could not be processed again: {names}", style="dim")
