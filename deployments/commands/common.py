"""Shared by all commands: options, output, exit codes and error messages."""

import functools
import inspect
import json
import logging
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import typer
from rich.console import Console
from rich.text import Text

from deployments.commands.completion import complete_indexes, complete_runs
from deployments.commands.plain_output import can_be_written
from flows.errors import InvalidPipeline, OrchestrationError, Problem

if TYPE_CHECKING:
    from flows.author import RunStatus

OK, FAILED, BAD_INPUT, PARTIAL, INTERRUPTED = 0, 1, 2, 3, 130
MEANINGS = {
    OK: "all is well",
    FAILED: "the run failed, or a check found a fault",
    BAD_INPUT: "bad input or usage: nothing was run",
    PARTIAL: "partial success (something was set aside or failed without failing the run)",
    INTERRUPTED: "interrupted, by Ctrl-C, SIGTERM or SIGHUP",
}
"""All exit codes."""
EXIT_CODES = f"Exit codes: {' · '.join(f'{code} {meaning}' for code, meaning in MEANINGS.items())}."
CODE_OF_STATUS: "dict[RunStatus, int]" = {"succeeded": OK, "partial": PARTIAL, "failed": FAILED}

Command = TypeVar("Command", bound=Callable[..., Any])
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", "-v", help="Show the log on stderr.")]
IndexOption = Annotated[
    str,
    typer.Option("--index", "-i", help="The index to work on.", metavar="NAME", autocompletion=complete_indexes),
]
RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="A run id, or the beginning of one: see `braid runs`.", autocompletion=complete_runs
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option("--max-workers", "-w", min=1, metavar="N", help="The most steps at once, instead of the pipeline's."),
]
RunnerOption = Annotated[
    Literal["threads", "dask", "ray"] | None,
    typer.Option(help="Where sync handlers run, instead of the pipeline's: threads here, a Dask or a Ray cluster."),
]
BudgetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        metavar="UNIT=AMOUNT",
        help="The most that the run may use: usd=5, tokens=100000, seconds=3600; "
        "may be repeated. When it is used up, no further step starts.",
    ),
]


def stdout() -> Console:
    """The console for results."""
    return Console(highlight=False, width=_width(sys.stdout.isatty()))


def stderr() -> Console:
    """The console for progress and errors."""
    return Console(stderr=True, highlight=False, width=_width(sys.stderr.isatty()))


def _width(terminal: bool) -> int | None:
    """The width of the output: that of the terminal; wide for a file or pipe, so that lines are not cut at 80."""
    return None if terminal or os.environ.get("COLUMNS") else 160


def emit(document: Any) -> None:
    """Print one JSON document."""
    text = json.dumps(document, ensure_ascii=False, indent=2, default=str)
    if not can_be_written(text, sys.stdout):
        text = json.dumps(document, indent=2, default=str)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def reported(command: Command) -> Command:
    """Wrap a command so that errors end it with a message and an exit code instead of a traceback, and Ctrl-C with 130.

    It also gets the option `--verbose`, which may precede or follow the command.
    """
    signature = inspect.signature(command)

    @functools.wraps(command)
    def run(*args: Any, verbose: bool = False, **kwargs: Any) -> Any:
        as_json = bool(kwargs.get("json_output"))
        if verbose:
            show_logs(verbose)
        try:
            return command(*args, **kwargs)
        except OrchestrationError as error:
            complain(error, as_json=as_json)
            raise typer.Exit(BAD_INPUT) from None
        except Exception as error:
            from deployments.server.connecting import server_trouble  # most commands need no server

            trouble = server_trouble(error)
            if isinstance(error, BrokenPipeError) or (trouble is None and not _is_from_outside(error)):
                raise
            complain(OrchestrationError(trouble or _one_line(error)), as_json=as_json)
            raise typer.Exit(BAD_INPUT) from None
        except KeyboardInterrupt:
            stderr().print("Interrupted; finished steps are kept: see `braid runs`, `braid resume`.", style="yellow")
            raise typer.Exit(INTERRUPTED) from None

    verbose = inspect.Parameter("verbose", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=VerboseOption)
    parameters = [*signature.parameters.values(), verbose]
    run.__signature__ = signature.replace(parameters=parameters)  # pyright: ignore[reportAttributeAccessIssue]
    return run  # pyright: ignore[reportReturnType]


def _is_from_outside(error: Exception) -> bool:
    """Whether an error comes from files, the system or a database, rather than from a bug in Braid."""
    return isinstance(error, OSError) or type(error).__module__.startswith("sqlalchemy.")


def _one_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return f"{type(cause).__name__}: {' '.join(str(cause).split())}"


def complain(error: OrchestrationError, *, as_json: bool) -> None:
    """Print the error, with all its problems."""
    from flows.model import hide_secrets  # the help needs no model

    problems = error.problems if isinstance(error, InvalidPipeline) else ()
    if as_json:
        described = {"kind": type(error).__name__, "message": hide_secrets(str(error))}
        emit({"error": described | ({"problems": [problem_json(problem) for problem in problems]} if problems else {})})
        return
    for line in hide_secrets(str(error)).splitlines() or [type(error).__name__]:
        stderr().print(Text.assemble(("error: ", "bold red"), line))


def problem_json(problem: Problem) -> dict[str, Any]:
    from flows.model import hide_secrets

    return {
        "file": problem.file,
        "line": problem.line,
        "column": problem.column,
        "code": problem.code,
        "message": hide_secrets(problem.message),
        "level": problem.level,
    }


def show_logs(verbose: bool) -> None:
    """Send Braid's log to stderr if `verbose`; otherwise only progress and tables are shown."""
    for name in ("flows", "handlers"):
        logger = logging.getLogger(name)
        if not verbose:
            logger.addHandler(logging.NullHandler())
            continue
        from rich.logging import RichHandler

        # Only once, even if the option is given both before and after the command.
        if not any(isinstance(handler, RichHandler) for handler in logger.handlers):
            logger.addHandler(RichHandler(console=stderr(), show_path=False))
        logger.setLevel(logging.INFO)
