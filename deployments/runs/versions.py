"""Selects the version of an index for a run: a question reads one complete version, an ingestion the one it builds."""

import threading
from typing import Any

from deployments.setting_values import index_version
from flows.state import Services


class Embedders:
    """The embedding models of versions of indexes, by name; each is loaded once."""

    def __init__(self, model_dir: str | None, base_url: str | None, api_key: str | None) -> None:
        self._options = model_dir, base_url, api_key
        self._made: dict[str, Any] = {}
        self._making = threading.Lock()

    def named(self, name: str) -> Any:
        """The model with that name, at the endpoint of the settings or on this machine."""
        from handlers.models import is_local, make_embedder

        model_dir, base_url, api_key = self._options
        with self._making:
            if name not in self._made:
                url = None if is_local(name) else base_url
                self._made[name] = make_embedder(name, model_dir=model_dir, base_url=url, api_key=api_key)
            return self._made[name]


def for_a_question(services: Services, index: str) -> Services:
    """The services of one question: all its steps see the same version of the index, and use the model of that version.

    It is the version in the name of the index, else the active one.
    """
    from handlers.stores import PinnedIndex

    store = services["index_store"]
    versions, wanted = store.versions(), index_version(index)
    version = next((each for each in versions if each.name == wanted), versions[0])
    objects: dict[str, Any] = {"index_store": PinnedIndex(store, wanted or version.name)}
    if version.model and "embedders" in services and services["embedder"].name != version.model:
        objects["embedder"] = services["embedders"].named(version.model)
    return services.replacing(objects)


def for_an_ingestion(services: Services, index: str, *, embeds: bool) -> Services:
    """The services of an ingestion, which builds another version if its model differs from that of the index.

    It also does so if the name of the index contains a version.
    """
    from handlers.stores import IndexBeingBuilt

    model = services["embedder"].name if embeds and "embedder" in services else None
    return services.replacing({"index_store": IndexBeingBuilt(services["index_store"], model, index_version(index))})
