"""The catalog: all named pipelines, from Braid's own folder and from the folders of the settings."""

import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.settings import PIPELINES, Settings
from flows.errors import DuplicateName, InvalidPipeline, UnknownName
from flows.loaders import LoadedPipeline, load_pipeline
from flows.model import Pipeline, name_in

SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True)
class Catalog:
    """Pipelines by name; an unreadable file is kept with its problems and does not affect the others."""

    loaded: Mapping[str, LoadedPipeline]
    broken: Mapping[Path, InvalidPipeline] = field(default_factory=dict[Path, InvalidPipeline])

    @property
    def pipelines(self) -> dict[str, Pipeline]:
        return {name: found.pipeline for name, found in self.loaded.items()}

    def find(self, name: str) -> LoadedPipeline:
        """The pipeline with that name, or in that file (`path/to/ingest.yaml`).

        If no pipeline has exactly that name, `pipeline.ingest` and `ingest.yaml` mean `ingest`.

        Raises:
            InvalidPipeline: the file has problems.
            UnknownName: no pipeline has that name; the message suggests the nearest.
        """
        if name.endswith((*SUFFIXES, ".json")) and ("/" in name or Path(name).exists()):
            return load_pipeline(name)
        without_suffix = name
        for suffix in SUFFIXES:
            without_suffix = without_suffix.removesuffix(suffix)
        broken = {path.stem: problems for path, problems in self.broken.items()}
        for wanted in (name, without_suffix):
            found = name_in({*self.loaded, *broken}, wanted)
            if found is not None and found in self.loaded:
                return self.loaded[found]
            if found is not None:
                raise broken[found]
        raise UnknownName("pipeline", name, self.loaded)


def load_catalog(settings: Settings) -> Catalog:
    """The pipelines in our folder and in the folders of the settings.

    Raises:
        DuplicateName: two files define pipelines with the same name.
    """
    loaded: dict[str, LoadedPipeline] = {}
    broken: dict[Path, InvalidPipeline] = {}
    for path in _files([PIPELINES, *settings.pipelines_dirs]):
        try:
            found = load_pipeline(path)
        except InvalidPipeline as problems:
            broken[path] = problems
            continue
        name = found.pipeline.name
        if name in loaded:
            raise DuplicateName(
                f"two pipelines are named {name!r}: {loaded[name].file} and {found.file}; rename one of them"
            )
        loaded[name] = found
    return Catalog(loaded, broken)


def _files(folders: Iterable[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for folder in folders:
        for path in sorted(folder.glob("*")) if folder.is_dir() else ():
            if path.suffix in SUFFIXES and path.resolve() not in seen:
                seen.add(path.resolve())
                yield path


def __getattr__(name: str) -> Any:
    """The flow of the pipeline `name`; deployments of earlier versions have this module as their entrypoint."""
    if name.startswith("__"):
        raise AttributeError(name)
    return getattr(importlib.import_module("deployments.server.entrypoints"), name)
