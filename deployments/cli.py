"""`braid`: the command line."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any

import typer

from deployments.commands.ask import ask
from deployments.commands.common import BAD_INPUT, EXIT_CODES, INTERRUPTED, VerboseOption, show_logs, stderr
from deployments.commands.demo import demo
from deployments.commands.deploy import deploy
from deployments.commands.doctor import doctor
from deployments.commands.documents import app as documents
from deployments.commands.evaluate import evaluate
from deployments.commands.handlers import handlers
from deployments.commands.import_ import import_pipeline
from deployments.commands.index import app as index
from deployments.commands.ingest import ingest
from deployments.commands.mcp import mcp_command
from deployments.commands.new import app as new
from deployments.commands.plain_output import write_plainly
from deployments.commands.plan import plan
from deployments.commands.replay import replay
from deployments.commands.resume import resume
from deployments.commands.run import run
from deployments.commands.runs import app as runs
from deployments.commands.schema import schema
from deployments.commands.search import search
from deployments.commands.serve import serve_command
from deployments.commands.sources import app as sources
from deployments.commands.stopping import stop_on_signals
from deployments.commands.tokens import app as tokens
from deployments.commands.up import up
from deployments.commands.validate import validate

_ROOT = Path(__file__).parent.parent

app = typer.Typer(
    name="braid",
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


_GROUPS: dict[str, tuple[Callable[..., Any], ...]] = {
    "Use": (demo, ingest, search, ask, run, resume),
    "Write pipelines": (plan, validate, handlers, schema),
    "Operate": (up, deploy),
    "Look": (evaluate, doctor, replay),
}
for _group, _commands in _GROUPS.items():
    for _command in _commands:
        app.command(rich_help_panel=_group, epilog=EXIT_CODES)(_command)
app.command("import", rich_help_panel="Write pipelines", epilog=EXIT_CODES)(import_pipeline)
app.add_typer(
    index, name="index", rich_help_panel="Look", epilog=EXIT_CODES, help="List, copy, compare and delete indexes."
)
app.add_typer(
    documents,
    name="documents",
    rich_help_panel="Look",
    epilog=EXIT_CODES,
)
app.add_typer(sources, name="sources", rich_help_panel="Look", epilog=EXIT_CODES)
app.command("mcp", rich_help_panel="Operate", epilog=EXIT_CODES)(mcp_command)
app.command("serve", rich_help_panel="Operate", epilog=EXIT_CODES)(serve_command)
app.add_typer(
    tokens, name="tokens", rich_help_panel="Operate", epilog=EXIT_CODES, help="Make, list and revoke tokens for serve."
)
app.add_typer(new, name="new", rich_help_panel="Write pipelines", epilog=EXIT_CODES)
app.add_typer(runs, name="runs", rich_help_panel="Look", epilog=EXIT_CODES)


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
    """A message about another package that has the name of one of ours, with the cure; None if there is none."""
    for name in ("flows", "handlers"):
        found = load(name)
        path = Path(found.__file__ or next(iter(getattr(found, "__path__", ())), ""))
        if _ROOT not in path.resolve().parents and _ROOT.resolve() not in path.resolve().parents:
            return (
                f"the package {name!r} is not Braid's but the one at {path}; {name!r} is a common name. Leave the "
                f"folder that has it, rename it, or take it off PYTHONPATH (sys.path is searched in order, Braid is "
                f"at {_ROOT})"
            )
    return None


if __name__ == "__main__":
    main()
