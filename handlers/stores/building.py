"""An index as an ingestion sees it: the new version if one must be built, else the active version."""

import threading
from typing import Any

from handlers.stores.pinning import PinnedIndex
from handlers.stores.rows import IndexVersion

_BEGINS = frozenset({"note_way", "put_documents", "put_vectors", "put_terms", "put_graph"})
"""The calls that begin a new version; before them, the active version is read."""


class IndexBeingBuilt:
    """An `IndexStore` that does not change the active version if its vectors come from another model.

    It then reads and writes a version beside it; so it does with a named `version`. Safe to use from several threads
    and processes, which all get the same version.
    """

    def __init__(self, store: Any, model: str | None, version: str | None = None) -> None:
        self._store, self._model, self._version = store, model, version
        self._deciding = threading.Lock()
        self._chosen: Any = None

    def __reduce__(self) -> tuple[type["IndexBeingBuilt"], tuple[Any, str | None, str | None]]:
        return (IndexBeingBuilt, (self._store, self._model, self._version))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        with self._deciding:
            if self._chosen is None:
                self._chosen = self._choose(begins=name in _BEGINS)
            return getattr(self._chosen or self._store, name)

    @property
    def built(self) -> str | None:
        """The name of the version that is being built beside the active one, once it has been begun."""
        with self._deciding:
            if self._chosen is None:
                self._chosen = self._choose(begins=False)
            return self._chosen.version if isinstance(self._chosen, PinnedIndex) else None

    @property
    def is_named(self) -> bool:
        """Whether the user has named the version; then the user switches to it."""
        return self._version is not None

    @property
    def whole(self) -> Any:
        """The index with all its versions."""
        return self._store

    def close(self) -> None:
        """Do nothing; the code that opened the store closes it."""

    def _choose(self, *, begins: bool) -> Any:
        """The version to read and write from now on; `None` while undecided."""
        active, *others = self._store.versions()
        name = self._version
        if name is not None and name == active.name:
            return PinnedIndex(self._store, name)
        if name is None and (not self._model or not active.model or active.model == self._model):
            return self._store if begins else None
        model = self._model or active.model
        found: IndexVersion | None = next((each for each in others if self._is_ours(each, model)), None)
        if found is not None:
            return PinnedIndex(self._store, found.name)
        return PinnedIndex(self._store, self._store.begin_version(model, name)) if begins else None

    def _is_ours(self, other: IndexVersion, model: str) -> bool:
        if self._version is not None:
            return other.name == self._version and other.model == model
        return other.model == model and other.state == "being built"
