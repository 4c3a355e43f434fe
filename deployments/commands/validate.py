"""`braid validate`: all problems of pipeline files, each at its line and column."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import typer
from rich.text import Text

from deployments.catalog import SUFFIXES, Catalog, load_catalog
from deployments.commands.common import BAD_INPUT, JsonOption, emit, problem_json, reported, stdout
from deployments.commands.completion import complete_pipelines
from deployments.commands.problem_formats import github, sarif
from deployments.runs import Request, load_handlers, plan_request
from deployments.settings import Settings, load_settings
from flows.author import Registry
from flows.errors import DuplicateName, InvalidPipeline, Problem, UnknownName
from flows.loaders import UNREADABLE, LoadedPipeline
from flows.model import remarks

Form: TypeAlias = Literal["text", "json", "sarif", "github"]


@reported
def validate(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE]...",
            help="Files, folders, or names; default: the whole catalog.",
            autocompletion=complete_pipelines,
        ),
    ] = None,
    form: Annotated[
        Form, typer.Option("--format", "-f", help="The form of the output, for people or for machines.")
    ] = "text",
    json_output: JsonOption = False,
) -> None:
    """Check pipelines of any dialect: keys, types, handlers, options, and whether every step can read what it needs.

    All problems are reported at once as file:line:column. The exit code is 2 if there is an error; warnings do not
    affect it.

    Examples:

      braid validate my_pipeline.yaml

      braid validate pipelines/ --json | jq '.files[].problems[].message'

      braid validate pipelines/ --format github     # annotations in a GitHub workflow

      braid validate deployments/schedules.yaml     # schedules, too

      braid validate --format sarif > braid.sarif   # for code scanning
    """
    settings = load_settings()
    load_handlers(settings)
    catalog = load_catalog(settings)
    checked = {
        name: _schedules(Path(name), catalog) if _holds_schedules(name, settings) else check(name, catalog)
        for name in _expanded(files, catalog)
    }
    wrong = [name for name, problems in checked.items() if errors_of(problems)]
    match "json" if json_output else form:
        case "json":
            described = [_file_json(name, problems, name not in wrong) for name, problems in checked.items()]
            emit({"ok": not wrong, "files": described})
        case "sarif":
            emit(sarif(checked))
        case "github":
            for problem in (problem for problems in checked.values() for problem in problems):
                typer.echo(github(problem))
        case "text":
            _show(checked, wrong)
    raise typer.Exit(BAD_INPUT if wrong else 0)


def errors_of(problems: Iterable[Problem]) -> list[Problem]:
    """The problems that would prevent a run."""
    return [problem for problem in problems if problem.level == "error"]


def _holds_schedules(name: str, settings: Settings) -> bool:
    """Whether a file contains schedules, by its name or by the setting."""
    return Path(name).name == "schedules.yaml" or (settings.schedules is not None and Path(name) == settings.schedules)


def _schedules(file: Path, catalog: Catalog) -> tuple[Problem, ...]:
    """All problems of a file of schedules."""
    from deployments.server.schedule_file import load_schedules  # imports Prefect, which takes seconds

    try:
        load_schedules(file, catalog)
    except InvalidPipeline as invalid:
        return invalid.problems
    return ()


def _show(checked: Mapping[str, tuple[Problem, ...]], wrong: list[str]) -> None:
    for name, problems in checked.items():
        for problem in problems:
            style = "bold red" if problem.level == "error" else "yellow"
            stdout().print(Text.assemble((f"{problem.level}: ", style), str(problem)), soft_wrap=True)
        if name not in wrong:
            stdout().print(Text.assemble((name, "bold"), ": ", ("ok", "green")))


def check(name: str, catalog: Catalog, *, registry: Registry | None = None) -> tuple[Problem, ...]:
    """All problems of one pipeline, warnings included."""
    try:
        return _planned(catalog.find(name), catalog, registry)
    except InvalidPipeline as invalid:
        # Check the readable part of a broken file as well, so that all problems are reported at once.
        more = _planned(invalid.draft, catalog, registry) if isinstance(invalid.draft, LoadedPipeline) else ()
        known = {(problem.line, problem.code) for problem in invalid.problems}
        known |= {(line, "unwritten-read") for line, code in known if code == "type-flow"}
        new = [
            problem
            for problem in more
            if (problem.line, problem.code) not in known and repr(UNREADABLE) not in problem.message
        ]

        return tuple(sorted([*invalid.problems, *new]))
    except UnknownName as unknown:
        return (Problem(name, 0, 0, "unknown-pipeline", str(unknown)),)
    except DuplicateName as two:
        return (Problem(name, 0, 0, "duplicate-name", str(two)),)


def _planned(found: LoadedPipeline, catalog: Catalog, registry: Registry | None) -> tuple[Problem, ...]:
    """The problems that the planner finds, or its warnings."""
    known = Catalog({**catalog.loaded, found.pipeline.name: found})
    unclear = [
        Problem(found.file, *found.position_of(path, *keys), code, message, "warning")
        for path, keys, code, message in remarks(found.pipeline)
    ]
    try:
        plan = plan_request(Request(found), settings=load_settings(), catalog=known, registry=registry)
        problems = plan.warnings
    except InvalidPipeline as invalid:
        problems = invalid.problems
    return tuple(sorted([*found.warnings, *problems, *unclear]))


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
