"""Wiring: the handlers that the settings name, and the services that the settings describe."""

import importlib.util
import sys
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

from deployments.runs.known_runs import KnownRuns
from deployments.runs.memory import share_arenas
from deployments.runs.versions import Embedders
from deployments.settings import Settings
from deployments.source_file import load_sources
from flows.author import REGISTRY, Prices, load_entry_points, load_modules
from flows.calling import Sandbox
from flows.errors import OrchestrationError
from flows.state import Services
from flows.storage import Storage, private_folder
from handlers.modules_by_name import HANDLER_MODULES, unlisted_modules


def load_handlers(settings: Settings) -> None:
    """Import all handlers: ours, those of the modules that the settings name, and those of installed distributions.

    Raises:
        OrchestrationError: a module of the settings cannot be imported, or a skill of its folders cannot be used.
    """
    _load_handlers(settings.handler_modules)
    if settings.skills_dirs:
        from handlers.data import load_skills

        load_skills(settings.skills_dirs)


@cache
def _load_handlers(modules: tuple[str, ...]) -> None:
    share_arenas()  # once per process, before it has many threads
    REGISTRY.offer(HANDLER_MODULES)  # imported when a pipeline names one
    load_modules(unlisted_modules())
    if modules and str(Path.cwd()) not in sys.path:
        # Last, so that files in the working directory do not replace installed modules.
        sys.path.append(str(Path.cwd()))
    for name in modules:
        if not _exists(name):
            raise OrchestrationError(
                f"BRAID_HANDLER_MODULES names {name!r}, which cannot be imported: there is no such module; "
                "it must be a module on PYTHONPATH or in the working directory"
            )
    load_modules(modules)
    load_entry_points()


def _exists(module: str) -> bool:
    """Whether a module exists, without importing it; its parent packages are imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as error:
        return not module.startswith(f"{error.name}.") and module != error.name
    except Exception:  # an error in a parent package, which is reported when the module is imported
        return True


def make_services(settings: Settings, index: str) -> Services:
    """The services of a run on an index; each is opened or loaded when a handler first uses it."""
    api_key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
    return Services(
        {
            "prices": partial(Prices, settings.prices or {}),
            "storage": partial(Storage, settings.storage_options),
            "known_runs": partial(KnownRuns, settings.run_store_url),
            "parsers": partial(Sandbox, settings.parser_cpu_s, settings.parser_memory_mb * 1_000_000),
            "recognition": partial(
                _make_recognition, settings.ocr_engine, settings.ocr_min_confidence, settings.ocr_languages
            ),
            "artifacts_url": partial(_artifacts_root, settings),
            "index_store": partial(_open_index, settings.index_location(index)),
            "embedder": partial(
                _make_embedder,
                settings.embedding_model,
                str(settings.model_dir) if settings.model_dir else None,
                settings.openai_base_url,
                api_key,
            ),
            "embedders": partial(
                Embedders, str(settings.model_dir) if settings.model_dir else None, settings.openai_base_url, api_key
            ),
            "reranker": partial(_make_reranker, str(settings.model_dir) if settings.model_dir else None),
            "chat": partial(_make_chat, settings.chat_model, settings.openai_base_url, api_key),
            "commands": partial(tuple, settings.commands),
            "job_keys": partial(_make_job_keys, settings.home.absolute() / "keys"),
            "content": partial(
                _make_content, settings.content_provider, settings.openai_base_url, api_key, settings.content_models
            ),
            "connections": partial(
                _make_connections, {n: u.get_secret_value() for n, u in settings.connections.items()}
            ),
            "rest": partial(_make_rest, settings.rest_hosts, settings.rest_private_hosts),
            "sources": partial(_make_sources, settings),
        }
    )


def _make_recognition(engine: Any, min_confidence: float, languages: str) -> Any:
    from handlers.extraction import Recognition

    return Recognition.chosen(engine, min_confidence, languages)


def _artifacts_root(settings: Settings) -> str:
    if settings.artifacts_url is None:
        private_folder(settings.home.absolute())  # before the first artifact creates it with default permissions
    return settings.artifacts_root


def _open_index(url: str) -> Any:
    from handlers.stores import IndexMadeOnWrite  # numpy and SQLAlchemy take a while to import

    return IndexMadeOnWrite(url)


def _make_embedder(name: str | None, model_dir: str | None, base_url: str | None, api_key: str | None) -> Any:
    from handlers.models import EMBEDDING_MODEL, is_local, make_embedder

    # An endpoint that is used only for the chat model does not replace the bundled embedding model.
    chosen = name or EMBEDDING_MODEL
    return make_embedder(chosen, model_dir=model_dir, base_url=None if is_local(chosen) else base_url, api_key=api_key)


def _make_chat(name: str | None, base_url: str | None, api_key: str | None) -> Any:
    from handlers.models import ChatModel

    return ChatModel(name, base_url=base_url, api_key=api_key)


def _make_content(kind: str, base_url: str | None, api_key: str | None, models: Mapping[str, str]) -> Any:
    from handlers.content import make_provider

    return make_provider(kind, base_url=base_url, api_key=api_key, models=models)


def _make_job_keys(folder: Path) -> Any:
    from handlers.jobs import JobKeys

    return JobKeys(folder)


def _make_reranker(model_dir: str | None) -> Any:
    from handlers.models import make_reranker

    return make_reranker(model_dir=model_dir)


def _make_sources(settings: Settings) -> Any:
    from handlers.data import Connections
    from handlers.sources import SourceOptions, Sources, Tools

    secrets = make_secrets()
    described = [
        SourceOptions(each.kind, each.entry.place, each.entry.options) for each in load_sources(settings).values()
    ]
    urls = {name: url.get_secret_value() for name, url in settings.connections.items()}
    return Sources(
        Tools(
            storage=Storage(settings.storage_options),
            secrets=secrets,
            connections=Connections(urls, secrets),
            private_hosts=settings.rest_private_hosts,
            cache=settings.home.absolute() / "cache",
        ),
        described,
    )


def make_secrets() -> Any:
    """The function that looks up secrets by reference: `env:NAME`, `prefect:NAME`."""
    from handlers.secrets import Secrets

    return Secrets({"prefect": _secret_block})


def _secret_block(name: str) -> str:
    from flows.translator import secret_of_block  # imports Prefect, which takes seconds
    from handlers.secrets import MissingSecret

    secret = secret_of_block(name)
    if secret is None:
        raise MissingSecret(f"prefect:{name}: Prefect has no Secret block named {name!r}; create it there")
    return secret


def _make_connections(urls: Mapping[str, str]) -> Any:
    from handlers.data import Connections

    return Connections(urls, make_secrets())


def _make_rest(hosts: tuple[str, ...], private_hosts: tuple[str, ...]) -> Any:
    from handlers.data import AllowedHosts, Rest

    return Rest(AllowedHosts(hosts, private_hosts), make_secrets())
