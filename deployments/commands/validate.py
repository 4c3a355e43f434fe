"""`braid validate`: everything that is wrong with pipeline files, each problem at its line and column."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from deployments.catalog import SUFFIXES, Catalog, load_catalog
from deployments.commands.common import BAD_INPUT, JsonOption, emit, problem_json, reported, stdout
from deployments.settings import load_settings
from deployments.wiring import load_handlers, overrides_from
from flows.errors import InvalidPipeline, Problem, UnknownName
from flows.loaders import LoadedPipeline
from flows.loaders.foreign import UNREADABLE
from flows.planner import make_plan


@reported
def validate(
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="Files, folders, or names; default: the whole catalog."),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Check pipelines: keys, types, handlers, options, and whether every step can read what it needs.

    All problems are reported at once as file:line:column. Exit code 2 if there is any; warnings do not count.

    Examples:

      braid validate my_pipeline.yaml

      braid validate pipelines/ --json | jq '.files[].problems[].message'
    """
    settings = load_settings()
    load_handlers(settings)
    catalog = load_catalog(settings)
    checked = {name: check(name, catalog) for name in _expanded(files, catalog)}
    wrong = [name for name, problems in checked.items() if any(problem.level == "error" for problem in problems)]
    if json_output:
        emit(
            {
                "ok": not wrong,
                "files": [_file_json(name, problems, name not in wrong) for name, problems in checked.items()],
            }
        )
    else:
        for name, problems in checked.items():
            for problem in problems:
                style = "bold red" if problem.level == "error" else "yellow"
                stdout().print(Text.assemble((f"{problem.level}: ", style), str(problem)))
            if name not in wrong:
                stdout().print(Text.assemble((name, "bold"), ": ", ("ok", "green")))
    raise typer.Exit(BAD_INPUT if wrong else 0)


def check(name: str, catalog: Catalog) -> tuple[Problem, ...]:
    """All problems of one pipeline, warnings included."""
    try:
        return _planned(catalog.find(name), catalog)
    except InvalidPipeline as invalid:
        # What can be read of a broken file is checked further: people mend all of it at once.
        more = _planned(invalid.draft, catalog) if isinstance(invalid.draft, LoadedPipeline) else ()
        known = {(problem.line, problem.code) for problem in invalid.problems}
        new = [problem for problem in more if (problem.line, problem.code) not in known and problem.level == "error"
               and repr(UNREADABLE) not in problem.message]  # fmt: skip
        return tuple(sorted([*invalid.problems, *new]))
    except UnknownName as unknown:
        return (Problem(name, 0, 0, "unknown-pipeline", str(unknown)),)


def _planned(found: LoadedPipeline, catalog: Catalog) -> tuple[Problem, ...]:
    """What the planner finds wrong with a pipeline, or its warnings."""
    known = {**catalog.pipelines, found.pipeline.name: found.pipeline}
    try:
        made = make_plan(
            found.pipeline, catalog=known, given=(), overrides=overrides_from(load_settings()), source=found.source,
            place=found.place,
        )  # fmt: skip
    except InvalidPipeline as invalid:
        return invalid.problems
    return tuple(sorted([*found.warnings, *made.warnings]))


def _expanded(files: list[str] | None, catalog: Catalog) -> list[str]:
    if not files:
        return [*catalog.loaded, *map(str, catalog.broken)]
    found: list[str] = []
    for name in files:
        path = Path(name)
        found += sorted(str(one) for one in path.rglob("*") if one.suffix in SUFFIXES) if path.is_dir() else [name]
    return list(dict.fromkeys(found))


def _file_json(name: str, problems: tuple[Problem, ...], ok: bool) -> dict[str, Any]:
    return {"file": name, "ok": ok, "problems": [problem_json(problem) for problem in problems]}
