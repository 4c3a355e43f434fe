"""The catalog: all named pipelines, from Braid's own folder and from the folders of the settings."""

import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deployments.settings import PIPELINES, Settings
from flows.errors import DuplicateName, InvalidPipeline, UnknownName
from flows.loaders import LoadedPipeline, load_pipeline
from flows.model import Pipeline, called_names, name_in

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

    def beside(self, loaded: LoadedPipeline) -> "Catalog":
        """The catalog for a pipeline in a file, whose steps may run those in the files beside it by their names.

        Raises:
            DuplicateName: a pipeline of the catalog has the name of one beside the file.
            InvalidPipeline: a file that a step names has problems.
        """
        known, waiting = dict(self.loaded), [loaded]
        while waiting:
            for found in _named_beside(waiting.pop()):
                name = found.pipeline.name
                other = loaded if name == loaded.pipeline.name else known.get(name)
                if other is None:
                    known[name] = found
                    waiting.append(found)
                elif (
                    other.pipeline != found.pipeline
                ):  # the same file, or the same pipeline in another dialect, is no clash
                    raise _two_of_one_name(other, found)
        return Catalog(known, self.broken)


def _named_beside(loaded: LoadedPipeline) -> Iterator[LoadedPipeline]:
    """The pipelines in the folder of a file that its steps name; each lies in a file of its name."""
    if not loaded.file or not Path(loaded.file).is_file():
        return
    files = {path.stem: path for path in _files([Path(loaded.file).parent])}
    for wanted in dict.fromkeys(name_in(files, name) for name in called_names(loaded.pipeline.steps)):
        if wanted is not None:
            found = load_pipeline(files[wanted])
            if found.pipeline.name == wanted:
                yield found


def _two_of_one_name(one: LoadedPipeline, other: LoadedPipeline) -> DuplicateName:
    return DuplicateName(
        f"two pipelines are named {one.pipeline.name!r}: {one.file} and {other.file}; rename one of them"
    )


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
            raise _two_of_one_name(loaded[name], found)
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
