"""`braid sources`: the sources that have names, how fresh they are, and whether they can be used."""

from typing import Annotated, Any

import typer
from rich.text import Text

from deployments.commands.common import BAD_INPUT, FAILED, JsonOption, emit, reported, stdout
from deployments.freshness import Freshness, age_text, freshness_of
from deployments.runs import load_handlers, make_services
from deployments.screen import local_time, plain_table
from deployments.setting_values import duration_text
from deployments.settings import Settings, load_settings
from deployments.source_file import NamedSource, find_source, load_sources
from flows.errors import OrchestrationError

app = typer.Typer(invoke_without_command=True, no_args_is_help=False)
_SHOWN = 10
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A source of sources.yaml.")]


@app.callback()
@reported
def sources(context: typer.Context, json_output: JsonOption = False) -> None:
    """List the sources of sources.yaml with their age; check and try them.

    Examples:

      braid sources

      braid sources try handbook
    """
    if context.invoked_subcommand is None:
        list_named(json_output=json_output)


@app.command("list")
@reported
def list_named(json_output: JsonOption = False) -> None:
    """List the named sources: kind, index, age of the last good ingestion, and whether that is fresh enough.

    Examples:

      braid sources list --json
    """
    settings = load_settings()
    load_handlers(settings)
    found = freshness_of(settings)
    if json_output:
        emit({"sources": [each.to_json() for each in found]})
        return
    if not found:
        stdout().print("No sources are defined yet; add one to deployments/sources.yaml, or set BRAID_SOURCES.")
        return
    table = plain_table("source", "kind", "index", "last good", "fresh within", "set aside", "place")
    for each in found:
        style = "bold red" if each.is_stale else ""
        table.add_row(
            Text(each.name, style),
            each.kind,
            each.index,
            Text(_last_good(each), style),
            duration_text(each.fresh_within_s) if each.fresh_within_s is not None else "",
            f"{each.set_aside:,} of {each.seen:,}" if each.seen else "",
            Text(each.place, "dim"),
        )
    stdout().print(table)


@app.command()
@reported
def check(json_output: JsonOption = False) -> None:
    """Check sources.yaml, and list the first page of each source; exit code 1 if one cannot be used.

    Examples:

      braid sources check
    """
    from deployments.server.source_schedules import schedule_problems  # imports Prefect, which takes seconds

    settings = load_settings()
    load_handlers(settings)
    found = load_sources(settings, schedule_problems)
    results = {name: _tried(settings, source, shown=0) for name, source in found.items()}
    if json_output:
        emit({"sources": results})
    else:
        for name, result in results.items():
            line = f"{name}: {result['error'] or 'can be listed'}"
            stdout().print(line, style="bold red" if result["error"] else "", markup=False)
    if any(each["error"] for each in results.values()):
        raise typer.Exit(FAILED)


@app.command("try")
@reported
def try_source(name: NameArgument, json_output: JsonOption = False) -> None:
    """List the first documents of a source and fetch one of them; nothing is stored.

    Examples:

      braid sources try handbook
    """
    settings = load_settings()
    load_handlers(settings)
    result = _tried(settings, find_source(load_sources(settings), name), shown=_SHOWN)
    if json_output:
        emit(result)
    elif result["error"]:
        stdout().print(result["error"], style="bold red", markup=False)
    else:
        for each in result["documents"]:
            stdout().print(each, markup=False)
        fetched = f"{result['fetched']}: {result['bytes']:,} bytes" if result["fetched"] else "no documents"
        stdout().print(fetched, style="dim", markup=False)
    if result["error"]:
        raise typer.Exit(BAD_INPUT)


def _tried(settings: Settings, source: NamedSource, *, shown: int) -> dict[str, Any]:
    """The listing of a source's first page, and the size of the first document; or the reason why it cannot be used."""
    from flows.storage import EVERYTHING, glob_filter
    from handlers.sources import Listed

    result: dict[str, Any] = {"error": None, "documents": [], "fetched": None, "bytes": 0}
    services = make_services(settings, source.index)
    try:
        opened = services["sources"].at(source.entry.place)
        fits = glob_filter(source.entry.pattern or EVERYTHING)
        page = next(opened.pages(fits), [])
        listed = [each for each in page if isinstance(each, Listed) and fits(each.name)]
        result["documents"] = [each.name for each in listed[:shown]]
        if shown and listed:
            result["fetched"] = listed[0].name
            result["bytes"] = len(opened.fetch(listed[0].uri).data)
    except OrchestrationError as error:
        result["error"] = str(error)
    finally:
        services.close()
    return result


def _last_good(found: Freshness) -> str:
    if found.good_at is None or found.age_s is None:
        return "never"
    return f"{age_text(found.age_s)} ago ({local_time(found.good_at)})"
