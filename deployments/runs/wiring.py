"""Wiring: from settings to the services that handlers ask for, and from parameters to a run that can start."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from deployments.runs.memory import share_arenas
from deployments.settings import Settings
from flows.author import Prices, load_entry_points, load_modules
from flows.engine import Observer, Prepared, ignore_event, new_run_id
from flows.errors import OrchestrationError
from flows.limits import SharedRates
from flows.model import Pipeline, check_parameters
from flows.planning import Overrides, Places, Plan, effect_fingerprints, make_plan
from flows.state import Context, EffectFingerprint, Identity, Services
from flows.storage import Storage

_APART = frozenset({"redo", "stale", "only_step", "force", "retry_failed"})
"""Fields that only say what is to be made again, so that nothing rests on them."""
_OF_CHUNKS = ("index.vectors", "index.terms", "index.graph")
"""What hangs on chunks, which are known by their content: how they were cut makes no difference to it."""


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
    share_arenas()  # once a process, before it has many threads
    load_modules(["handlers"])
    if modules and str(Path.cwd()) not in sys.path:
        # Last, so that nothing in the working directory takes the place of an installed module.
        sys.path.append(str(Path.cwd()))
    for name in modules:
        try:
            load_modules([name])
        except ImportError as error:
            raise OrchestrationError(
                f"BRAID_HANDLER_MODULES names {name!r}, which cannot be imported: {error}; "
                "it must be a module on PYTHONPATH or in the working directory"
            ) from error
    load_entry_points()


def make_services(settings: Settings, index: str) -> Services:
    """The services of a run on an index; nothing is opened or loaded before a handler asks for it."""
    api_key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else None
    return Services(
        {
            "prices": partial(Prices, settings.prices or {}),
            "storage": partial(Storage, settings.storage_options),
            "known_runs": partial(_make_known_runs, settings.run_store_url),
            "sharded_ingestion": partial(_make_sharded_ingestion, settings),
            "artifacts_url": partial(str, settings.artifacts_root),
            "index_store": partial(_open_index, settings.index_location(index)),
            "embedder": partial(
                _make_embedder,
                settings.embedding_model,
                str(settings.model_dir) if settings.model_dir else None,
                settings.openai_base_url,
                api_key,
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
        }
    )


def prepare(
    pipeline: Pipeline,
    parameters: Mapping[str, Any],
    *,
    settings: Settings,
    index: str = "default",
    overrides: Overrides | None = None,
    observer: Observer = ignore_event,
    run_id: str | None = None,
    services: Services | None = None,
    catalog: Mapping[str, Pipeline] | None = None,
    source: str | None = None,
    place: Places = lambda path: (0, 0),
) -> Prepared:
    """The plan and the context of a run; `overrides` and `services` default to what the settings say.

    Raises:
        InvalidParameters: the parameters do not fit the pipeline.
        InvalidPipeline: the pipeline cannot run.
        InvalidSettings: the index has an impossible name.
    """
    load_handlers(settings)
    values = check_parameters(pipeline, parameters)
    chosen = services or make_services(settings, index)
    plan = make_plan(
        pipeline,
        catalog=catalog,
        given=values,
        overrides=overrides or overrides_from(settings),
        source=source,
        place=place,
    )
    effects = _effect_fingerprints(plan, values)
    identity = Identity(pipeline.name, run_id or new_run_id(), index, chosen, effects)
    return Prepared(plan, Context(values, identity=identity), observer, rates=_rates(plan, settings))


def _effect_fingerprints(plan: Plan, values: Mapping[str, Any]) -> dict[str, EffectFingerprint]:
    by_content = effect_fingerprints(plan, values, apart_from=_APART | {"chunks"})
    return effect_fingerprints(plan, values, apart_from=_APART) | {
        effect: by_content[effect] for effect in _OF_CHUNKS if effect in by_content
    }


def _rates(plan: Plan, settings: Settings) -> SharedRates | None:
    """Who counts calls a minute for all runs, where the plan shares a resource that has such a limit."""
    shared = [common for one in plan.all_resources.values() for common in one.shared.values()]
    if not any(common.per_minute is not None or common.tokens_per_minute is not None for common in shared):
        return None
    return _open_rates(settings.run_store_url)


@cache
def _open_rates(url: str) -> SharedRates:
    from flows.run_store import DatabaseRates

    return DatabaseRates(url)


def overrides_from(
    settings: Settings, max_workers: int | None = None, budget: Mapping[str, float] | None = None
) -> Overrides:
    """The run's ceiling and budget: the command line's, else the environment's, else none; a budget unit by unit.

    The resources are the settings'.
    """
    addresses = {
        name: address for name, address in (("dask", settings.dask_address), ("ray", settings.ray_address)) if address
    }
    common = Overrides(
        budget={**settings.budget, **(budget or {})},
        resources=settings.resources,
        resources_origin="BRAID_RESOURCES",
        task_runner=settings.task_runner,
        task_runner_origin="--task-runner or BRAID_TASK_RUNNER",
        clusters=addresses,
    )
    if max_workers is not None:
        return replace(common, max_concurrency=max_workers, origin="--max-workers")
    if settings.max_workers is not None:
        return replace(common, max_concurrency=settings.max_workers, origin=settings.max_workers_origin)
    return common


def _make_sharded_ingestion(settings: Settings) -> Any:
    from deployments.shards.ingest import ShardedIngestion

    return ShardedIngestion(settings)


def _make_known_runs(url: str) -> Any:
    from deployments.runs.recording import KnownRuns  # SQLAlchemy takes a while to import

    return KnownRuns(url)


def _open_index(url: str) -> Any:
    from handlers.stores import open_index  # numpy and SQLAlchemy take a while to import

    return open_index(url)


def _make_embedder(name: str | None, model_dir: str | None, base_url: str | None, api_key: str | None) -> Any:
    from handlers.models import EMBEDDING_MODEL, is_local, make_embedder

    # An endpoint that only answers questions does not take the bundled model's place.
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


def _make_secrets() -> Any:
    from handlers.secrets import Secrets

    return Secrets({"prefect": _secret_block})


def _secret_block(name: str) -> str:
    """The value of a Prefect Secret block."""
    from prefect.blocks.system import Secret

    from handlers.secrets import MissingSecret

    try:
        return str(Secret.load(name, _sync=True).get())  # pyright: ignore[reportAttributeAccessIssue, reportCallIssue]
    except ValueError as error:
        raise MissingSecret(f"prefect:{name}: Prefect has no Secret block named {name!r}; create it there") from error


def _make_connections(urls: Mapping[str, str]) -> Any:
    from handlers.data import Connections

    return Connections(urls, _make_secrets())


def _make_rest(hosts: tuple[str, ...], private_hosts: tuple[str, ...]) -> Any:
    from handlers.data import AllowedHosts, Rest

    return Rest(AllowedHosts(hosts, private_hosts), _make_secrets())
