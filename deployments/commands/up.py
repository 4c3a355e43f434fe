"""`braid up`: a Prefect server with all pipelines deployed, a worker, and `braid serve`, until Ctrl-C."""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from deployments.catalog import load_catalog
from deployments.commands.common import FAILED, complain, reported, stderr, stdout
from deployments.commands.deploy import show_changes
from deployments.server.local import PORT, LocalServer, free_port_near
from deployments.server.supervising import GivenUp, Program, Running, Supervisor
from deployments.settings import SERVE_PORT, WORK_POOL, Settings, load_settings

_SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


@reported
def up(
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PORT",
            help=f"Port of the Prefect server. Default: {PORT}, or another if it is taken.",
        ),
    ] = None,
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="N", help="Flow runs at once on this machine.")] = 4,
    serve_port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PORT",
            help=f"Port of the search page. Default: {SERVE_PORT}, or another if it is taken.",
        ),
    ] = None,
) -> None:
    """Start a Prefect server, deploy every pipeline, start a worker and the search page; Ctrl-C stops all of it.

    A program that ends by itself is started again; if it keeps ending, `braid up` stops with
    exit code 1. It corrects the states that crashes left, at the start and while it runs.

    Everything is on 127.0.0.1. The state is in the folder `server` below BRAID_HOME: the next `braid up` finds runs,
    schedules and artifacts again. Other commands (`braid deploy`, `braid run --deployed`) find this server.

    Examples:

      braid up

      BRAID_HOME=/srv/braid braid up --port 4300
    """
    settings = load_settings()
    catalog = load_catalog(settings)
    _make_paths_absolute(settings)
    with _until_interrupted(), LocalServer(settings.home / "server", port=port) as server:
        if server.leftovers:
            _say(f"ended {server.leftovers} processes that were left behind")
        stderr().print("Starting the Prefect server …", style="dim")
        supervisor = Supervisor(_programs(server, runs), say=_say)
        supervisor.adopt("server", server.start_server())
        os.environ.update({name: value for name, value in server.environment.items() if name.startswith("PREFECT_")})
        from deployments.server.deploying import deploy  # imports Prefect, which takes seconds
        from deployments.server.keeping import Keeper

        keeper = Keeper(settings, say=_say)
        for finding in keeper.reconcile():
            _say(finding.text)
        show_changes(deploy((), catalog=catalog, settings=settings))
        for path, problems in catalog.broken.items():
            stderr().print(f"left out: {path}: {problems}", style="yellow")
        supervisor.adopt("worker", server.start_worker(WORK_POOL, limit=runs))
        supervisor.adopt("serve", server.start_service(serve_port or free_port_near(SERVE_PORT)))
        _announce(server)
        with keeper:
            while True:
                try:
                    supervisor.look()
                except GivenUp as error:
                    complain(error, as_json=False)
                    raise typer.Exit(FAILED) from None
                time.sleep(0.5)


def _programs(server: LocalServer, runs: int) -> list[Program]:
    """The programs to keep running; the search page keeps its address."""

    def service() -> Running:
        return server.start_service(int((server.state.service or "").rpartition(":")[2]))

    def program(name: str, start: Callable[[], Running], answers: Callable[[], bool] | None) -> Program:
        return Program(
            name, start, lambda: server.stop_program(name), answers=answers, log_end=lambda: server.log_end(name)
        )

    return [
        program("server", server.launch_server, server.answers),
        program("worker", lambda: server.start_worker(WORK_POOL, limit=runs), None),
        program("serve", service, server.service_answers),
    ]


def _say(text: str) -> None:
    """Report what happened, with the time of day."""
    stderr().print(f"{time.strftime('%H:%M:%S')} {text}", style="yellow", markup=False)


def _announce(server: LocalServer) -> None:
    ui = server.url.removesuffix("/api")
    stdout().print(
        f"\nBraid is at [bold]{server.state.service}[/bold]\n"
        f"  search, ask, upload; REST at /docs, MCP at /mcp\n"
        f"Prefect is at [bold]{ui}[/bold]\n"
        f"  run a pipeline    {ui}/deployments → ingest → Run → Custom run → fill the form → Submit\n"
        f"  watch it          {ui}/runs → the run → its timeline, logs and artifacts (plan, progress, outcomes)\n"
        f"  or from a shell   braid run --deployed ingest -p source=FOLDER --index NAME\n"
        f"  schedules         deployments/schedules.yaml, then braid deploy\n"
        f"State and logs are in {server.folder}. Ctrl-C stops everything."
    )


def _make_paths_absolute(settings: Settings) -> None:
    """Make settings that name folders absolute, since runs of the worker have another working directory."""
    os.environ["BRAID_HOME"] = str(settings.home.absolute())
    for name, folders in {"PIPELINES_DIRS": settings.pipelines_dirs, "SKILLS_DIRS": settings.skills_dirs}.items():
        if folders:
            os.environ[f"BRAID_{name}"] = os.pathsep.join(str(folder.absolute()) for folder in folders)
    if settings.handler_modules:
        paths = [str(Path.cwd()), *filter(None, [os.environ.get("PYTHONPATH")])]
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)


def _ignored(number: int) -> bool:
    """Whether the hangup of the terminal is ignored (`nohup`)."""
    return number == getattr(signal, "SIGHUP", None) and signal.getsignal(number) is signal.SIG_IGN


@contextmanager
def _until_interrupted() -> Iterator[None]:
    """Ctrl-C, SIGTERM and a hangup of the terminal end the block; they cannot interrupt the clean-up."""

    def stop(_: int, __: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        stderr().print("\nStopping the worker and the server …", style="dim")
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in _SIGNALS if not _ignored(number)}
    try:
        yield
    except KeyboardInterrupt:
        stderr().print("Stopped; runs, schedules and artifacts are kept.")
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
