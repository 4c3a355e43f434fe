"""The services outside this process that `braid doctor` calls: models, databases, places in S3, and clusters.

All are called at the same time. A service that does not answer in time is a finding, and takes no longer than that
time. The calls cost no money and change nothing: models are listed, databases are asked for the number 1.
"""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

from deployments.server.findings import Finding, Level
from deployments.settings import Settings
from deployments.source_file import load_sources
from flows.errors import OrchestrationError
from handlers.secrets import hide

TIMEOUT_S = 10.0
_CLUSTER_S = 40.0
"""The time limit for a cluster, whose client takes seconds to import."""


@dataclass
class _Service:
    """A service to call; `call` returns the level and the text of its finding."""

    topic: str
    name: str
    call: Callable[[], tuple[Level, str]]
    cure: str
    hidden: tuple[str, ...] = ()
    longest_s: float | None = None
    answer: Finding | None = field(default=None, init=False)

    def ask(self) -> None:
        try:
            level, text = self.call()
        except Exception as error:
            level, text = "error", f"{_first_line(error)}; {self.cure}"
        self.answer = Finding(self.topic, level, hide(f"{self.name}: {text}", self.hidden))


def call_services(settings: Settings) -> Iterator[Finding]:
    """Call every service that the settings name; one finding each, in the order of the settings."""
    services = [*_models(settings), *_connections(settings), *_places(settings), *_clusters(settings)]
    # In daemon threads, because a client may take minutes to give up.
    threads = [threading.Thread(target=service.ask, name="braid-doctor", daemon=True) for service in services]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for service, thread in zip(services, threads, strict=True):
        longest = service.longest_s or TIMEOUT_S
        thread.join(max(0.0, began + longest - time.monotonic()))
        if service.answer is not None:
            yield service.answer
        else:
            yield Finding(service.topic, "error", f"{service.name}: no answer within {longest:g} s; {service.cure}")


def _first_line(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error  # SQLAlchemy's errors contain the driver's error
    text = (str(cause).strip().splitlines() or [""])[0]
    return text if isinstance(error, OrchestrationError) else f"{type(cause).__name__}: {text}"


def _models(settings: Settings) -> Iterator[_Service]:
    if not settings.openai_base_url:
        return
    key = settings.openai_api_key.get_secret_value() if settings.openai_api_key else ""
    call = partial(_list_models, settings, settings.openai_base_url, key or None)
    cure = "check BRAID_OPENAI_BASE_URL and BRAID_OPENAI_API_KEY"
    yield _Service("models", hide(settings.openai_base_url, [key]), call, cure, (key,))


def _list_models(settings: Settings, base_url: str, key: str | None) -> tuple[Level, str]:
    from handlers.models import Endpoint

    endpoint = Endpoint(base_url, api_key=key, timeout_s=TIMEOUT_S)
    try:
        listed = endpoint.models()
    finally:
        endpoint.close()
    used = list(_used_models(settings))
    if listed is None:
        models = ", ".join(name for _, _, name in used) or "none"
        return "note", f"answers, but has no list of its models, so {models} has not been tried"
    missing = [f"{name!r} ({variable})" for variable, _, name in used if not _is_listed(name, listed)]
    if missing:
        there = ", ".join(sorted(listed)[:8]) or "none"
        return "warning", f"does not list {', '.join(missing)}; it has {there}"
    purposes = " and ".join(f"{purpose} by {name}" for _, purpose, name in used)
    numbered = f"lists {len(listed)} model{'' if len(listed) == 1 else 's'}"
    if not purposes and settings.content_provider != "openai":
        return "note", f"{numbered}; no setting uses them; set BRAID_CHAT_MODEL or BRAID_EMBEDDING_MODEL"
    return "ok", f"{numbered}; {purposes or 'speech and pictures by the models that steps name'}"


def _used_models(settings: Settings) -> Iterator[tuple[str, str, str]]:
    """The models used at the endpoint: setting, purpose and name."""
    from handlers.models import is_local

    if settings.chat_model:
        yield "BRAID_CHAT_MODEL", "answers", settings.chat_model
    if settings.embedding_model and not is_local(settings.embedding_model):
        yield "BRAID_EMBEDDING_MODEL", "embeddings", settings.embedding_model
    if settings.content_provider == "openai":
        for kind, name in settings.content_models.items():
            yield "BRAID_CONTENT_MODELS", kind, name


def _is_listed(name: str, listed: frozenset[str]) -> bool:
    """Whether a model is listed; some endpoints list `models/NAME` or `NAME:latest` but accept the plain name."""
    return any(each in (name, f"{name}:latest") or each.endswith(f"/{name}") for each in listed)


def _connections(settings: Settings) -> Iterator[_Service]:
    for name, url in settings.connections.items():
        value = url.get_secret_value()
        hidden = () if _is_reference(value) else (value,)
        yield _Service("connections", name, partial(_call_database, name, value), "check BRAID_CONNECTIONS", hidden)


def _is_reference(value: str) -> bool:
    from deployments.runs import make_secrets

    return make_secrets().is_reference(value)


def _call_database(name: str, value: str) -> tuple[Level, str]:
    from deployments.runs import make_secrets
    from handlers.data import Connections, call_database

    connections = Connections({name: value}, make_secrets())
    try:
        return "ok", call_database(connections, connections.url(name))
    finally:
        connections.close()


def _places(settings: Settings) -> Iterator[_Service]:
    places = [("artifacts", settings.artifacts_root), ("uploads", settings.uploads_root)]
    try:
        places += [(f"source {name}", each.entry.place) for name, each in load_sources(settings).items()]
    except OrchestrationError as error:
        yield _Service("sources", "the file of sources", partial(_fail, error), "see `braid sources list`")
    in_s3 = [(topic, place) for topic, place in places if place.startswith(("s3://", "s3a://"))]
    secret = settings.s3_secret.get_secret_value() if settings.s3_secret else ""
    for topic, place in in_s3:
        yield _Service(topic, place, partial(_list_place, settings, place), "check the BRAID_S3_… settings", (secret,))
    if settings.s3_endpoint_url and not in_s3:
        unused: tuple[Level, str] = ("note", "no setting names a place in it, so it has not been called")
        yield _Service("artifacts", hide(settings.s3_endpoint_url, [secret]), lambda: unused, "")


def _fail(error: Exception) -> tuple[Level, str]:
    raise error


def _list_place(settings: Settings, place: str) -> tuple[Level, str]:
    from flows.storage import Storage

    there = Storage(settings.storage_options).exists(place)
    where = f" at {settings.s3_endpoint_url}" if settings.s3_endpoint_url else ""
    return "ok", f"listed{where}{'' if there else ', empty'}"


def _clusters(settings: Settings) -> Iterator[_Service]:
    for kind, address in (("dask", settings.dask_address), ("ray", settings.ray_address)):
        if address is not None:
            cure = f"check BRAID_{kind.upper()}_ADDRESS"
            yield _Service("clusters", kind, partial(_count_workers, kind, address), cure, longest_s=_CLUSTER_S)


def _count_workers(kind: str, address: str) -> tuple[Level, str]:
    from flows.calling import cluster_workers

    found = cluster_workers(kind, address, timeout_s=TIMEOUT_S)
    text = f"{found} worker{'' if found == 1 else 's'}"
    return ("ok", text) if found else ("warning", f"{text}, so calls wait; start some for {address}")
