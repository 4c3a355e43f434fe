"""What developers do: `nox -l` lists it. Everything runs in `.venv`, which `nox -s set-up` makes."""

import sys
from pathlib import Path

import nox

nox.options.default_venv_backend = "none"
nox.options.sessions = ["quick", "check"]
BIN = Path(__file__).parent / ".venv" / "bin"


def run(session: nox.Session, program: str, *arguments: str) -> None:
    """Run a program of `.venv`, or the one on the path if there is no `.venv`, as in a container."""
    ours = BIN / program
    session.run(str(ours) if ours.exists() else program, *arguments, external=True)


@nox.session(name="set-up")
def set_up(session: nox.Session) -> None:
    """Make `.venv` with everything that developers need, and check what is committed from now on."""
    session.run(sys.executable, "-m", "venv", str(BIN.parent), external=True)
    run(session, "pip", "install", "-c", "constraints.txt", "-e", ".[dev]")
    run(session, "pre-commit", "install")


@nox.session
def quick(session: nox.Session) -> None:
    """Run the unit tests and contracts that need no server, in a minute; takes pytest's arguments after `--`."""
    run(session, "pytest", "-m", "quick", *session.posargs)


@nox.session
def test(session: nox.Session) -> None:
    """Run all tests; takes pytest's arguments after `--`."""
    run(session, "pytest", *session.posargs)


@nox.session
def check(session: nox.Session) -> None:
    """Check lint, format, types and which room imports which."""
    run(session, "ruff", "check", ".")
    run(session, "ruff", "format", "--check", ".")
    run(session, "pyright", "--pythonpath", str(BIN / "python") if BIN.exists() else sys.executable)
    run(session, "lint-imports", "--no-cache")


@nox.session
def docs(session: nox.Session) -> None:
    """Run the examples of the documentation, and follow its links."""
    run(session, "pytest", "tests/acceptance/test_docs.py", "tests/acceptance/test_sources.py", *session.posargs)


@nox.session
def site(session: nox.Session) -> None:
    """Write the tables, draw the pictures and build the site into `site/`; `-- serve` shows it as you write."""
    run(session, "python", "-m", "docs.reference.write")
    run(session, "python", "-m", "docs.images.draw")
    run(session, "mkdocs", *(session.posargs or ["build", "--strict"]))
