"""`braid`: the command line."""

import ast
import gc
import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from deployments.commands.common import BAD_INPUT, EXIT_CODES, INTERRUPTED, VerboseOption, show_logs, stderr
from deployments.commands.plain_output import write_plainly
from deployments.commands.stopping import stop_on_signals

_ROOT = Path(__file__).parent.parent

_COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": ("demo", "demo", "Use"),
    "ingest": ("ingest", "ingest", "Use"),
    "search": ("search", "search", "Use"),
    "ask": ("ask", "ask", "Use"),
    "run": ("run", "run", "Use"),
    "resume": ("resume", "resume", "Use"),
    "plan": ("plan", "plan", "Write pipelines"),
    "validate": ("validate", "validate", "Write pipelines"),
    "handlers": ("handlers", "handlers", "Write pipelines"),
    "schema": ("schema", "schema", "Write pipelines"),
    "import": ("import_", "import_pipeline", "Write pipelines"),
    "new": ("new", "app", "Write pipelines"),
    "up": ("up", "up", "Operate"),
    "watch": ("watch", "watch", "Operate"),
    "deploy": ("deploy", "deploy", "Operate"),
    "serve": ("serve", "serve_command", "Operate"),
    "mcp": ("mcp", "mcp_command", "Operate"),
    "tokens": ("tokens", "app", "Operate"),
    "evaluate": ("evaluate", "evaluate", "Look"),
    "doctor": ("doctor", "doctor", "Look"),
    "replay": ("replay", "replay", "Look"),
    "index": ("index_group", "app", "Look"),
    "documents": ("documents", "app", "Look"),
    "sources": ("sources", "app", "Look"),
    "runs": ("runs", "app", "Look"),
}
"""Module of `deployments.commands`, name in it, and panel of the help."""
_HELP = {
    "index": "List, copy, compare and delete indexes, and switch between their versions.",
    "tokens": "Make, list and revoke tokens for serve.",
    "new": "Write a pipeline or a handler to begin with.",
    "documents": "List, show, delete and requeue the documents of an index.",
    "sources": "List the sources of sources.yaml with their age; check and try them.",
    "runs": "List runs, the newest first; `braid runs show RUN` shows one with every step.",
}
"""The commands that have subcommands."""


class _Commands(Mapping[str, Any]):
    """The commands by name; a module is imported when its command is used, since some modules are slow to import."""

    def __getitem__(self, name: str) -> Any:
        module, attribute, panel = _COMMANDS[name]
        found = getattr(_import_without_collecting(f"deployments.commands.{module}"), attribute)
        around = typer.Typer()
        if isinstance(found, typer.Typer):
            text = _HELP.get(name, found.info.help)
            around.add_typer(found, name=name, rich_help_panel=panel, epilog=EXIT_CODES, help=text)
        else:
            around.command(name, rich_help_panel=panel, epilog=EXIT_CODES)(found)
        return typer.main.get_group(around).commands[name]

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


def _import_without_collecting(module: str) -> ModuleType:
    """Import a module without examining its objects for garbage, which takes a fifth of the time of a command."""
    if module in sys.modules:
        return sys.modules[module]
    gc.disable()
    try:
        return importlib.import_module(module)
    finally:
        # Nearly all of these objects stay. Both calls together move them to the oldest generation, unexamined.
        gc.freeze()
        gc.unfreeze()
        gc.enable()


class _Group(TyperGroup):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.commands = _Commands()  # pyright: ignore[reportAttributeAccessIssue]  (nothing writes to it)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """List the commands from the docstrings in their source files, without importing them."""
        commands = self.commands
        self.commands = {
            name: TyperCommand(name, help=_first_sentence(name), rich_help_panel=panel)
            for name, (_, _, panel) in _COMMANDS.items()
        }
        try:
            super().format_help(ctx, formatter)
        finally:
            self.commands = commands


def _first_sentence(name: str) -> str:
    """The beginning of a command's docstring."""
    if name in _HELP:
        return _HELP[name]
    module, function, _ = _COMMANDS[name]
    source = ast.parse((Path(__file__).parent / "commands" / f"{module}.py").read_text(encoding="utf-8"))
    found = next(each for each in source.body if isinstance(each, ast.FunctionDef) and each.name == function)
    return (ast.get_docstring(found) or "").partition("\n\n")[0]


app = typer.Typer(
    name="braid",
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_show_locals=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=EXIT_CODES,
)


def _show_version(wanted: bool) -> None:
    if not wanted:
        return
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        typer.echo(f"braid {version_of('braid-pipelines')}")
    except PackageNotFoundError:
        typer.echo("braid (not installed, run from its folder)")
    raise typer.Exit


@app.callback()
def braid(
    verbose: VerboseOption = False,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_show_version),
    ] = False,
) -> None:
    """Run declared pipelines with parallel steps, as Prefect flows.

    New here? Try these in order:

      braid demo                                   ingest example documents, answer questions from them

      braid ingest FOLDER --index NAME             do the same with yours

      braid search "a question" --index NAME

      braid plan ingest                            see which steps run in parallel, and every limit
    """
    del version  # printed by its own callback, which needs no command
    show_logs(verbose)


def main() -> None:
    """Run the command that the command line names."""
    write_plainly()
    stop_on_signals()
    shadowed = shadowing()
    if shadowed is not None:
        stderr().print(f"error: {shadowed}", style="red")
        sys.exit(BAD_INPUT)
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def shadowing(load: Callable[[str], ModuleType] = importlib.import_module) -> str | None:
    """A message, with the cure, if another package hides one of ours by its name; else None."""
    for name in ("flows", "handlers"):
        found = load(name)
        path = Path(found.__file__ or next(iter(getattr(found, "__path__", ())), ""))
        if _ROOT not in path.resolve().parents and _ROOT.resolve() not in path.resolve().parents:
            return (
                f"the package {name!r} is not Braid's but the one at {path}; {name!r} is a common name. Change "
                f"to another folder, rename it, or take it off PYTHONPATH (sys.path is searched in order, Braid is "
                f"at {_ROOT})"
            )
    return None


if __name__ == "__main__":
    main()
