"""Makes a new version of an index active at the end of the ingestion that completes it."""

from dataclasses import asdict, dataclass
from typing import Any

from deployments.runs.judging import compare_versions
from deployments.settings import Settings
from flows.state import Services

_NAMED = 20


@dataclass(frozen=True)
class BuiltVersion:
    """A version that is being built beside the active one, and its progress."""

    name: str
    model: str
    active: str
    """The active version."""
    unfinished: int
    """The number of documents that are still missing."""
    some: tuple[str, ...] = ()
    """The ids of some of them."""
    compared: str = ""
    """Its result on the judged questions of the index."""
    is_worse: bool = False
    is_named: bool = False
    """Whether the user has named it; then the user switches to it."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def __str__(self) -> str:
        judged = f" ({self.compared})" if self.compared else ""
        if self.active == self.name:
            return f"questions use version {self.name} now, which is complete{judged}"
        if self.is_worse:
            return f"version {self.name} is complete, but worse{judged}: questions still use version {self.active}"
        if self.unfinished:
            count = f"{self.unfinished:,} document{'' if self.unfinished == 1 else 's'}"
            return f"version {self.name} lacks {count}: questions still use version {self.active}"
        return f"version {self.name} is complete{judged}; questions use version {self.active} until you switch"


def finish_version(settings: Settings, services: Services, index: str) -> BuiltVersion | None:
    """Switch to the version that an ingestion has built, if it is whole and not worse and nobody has named it."""
    from handlers.stores import IndexBeingBuilt

    store = services["index_store"]
    if not isinstance(store, IndexBeingBuilt) or store.built is None:
        return None
    active = store.versions()[0]
    built = next((each for each in store.versions() if each.name == store.built), active)
    if built.active:
        return None
    unfinished = store.unfinished()
    whole = services.replacing({"index_store": store.whole})
    compared = compare_versions(settings, whole, index, active.name, built.name) if not unfinished else None
    is_worse = compared is not None and compared.is_worse
    name = active.name
    if not unfinished and not is_worse and not store.is_named:
        store.switch_version(built.name)
        name = built.name
    return BuiltVersion(
        built.name,
        built.model,
        name,
        len(unfinished),
        tuple(unfinished[:_NAMED]),
        str(compared) if compared is not None else "",
        is_worse,
        store.is_named,
    )
