"""The environment that a worker needs for deployed pipelines: their folders, and the modules with handlers. Runs find
them in the environment of their worker, or the deployment sets them as environment variables of its runs.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from deployments.server.local import read_state
from deployments.settings import Settings
from flows.loaders import LoadedPipeline

_PIPELINES, _MODULES, _PATH = "BRAID_PIPELINES_DIRS", "BRAID_HANDLER_MODULES", "PYTHONPATH"


@dataclass(frozen=True)
class Needed:
    """The folders and modules that the deployed pipelines come from and use."""

    folders: tuple[Path, ...]
    modules: tuple[str, ...]

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables for them; modules are also searched in the current working directory."""
        found = {_PIPELINES: os.pathsep.join(map(str, self.folders)), _MODULES: ",".join(self.modules)}
        paths = [str(Path.cwd()), *filter(None, [os.environ.get(_PATH)])] if self.modules else []
        return {name: value for name, value in {**found, _PATH: os.pathsep.join(paths)}.items() if value}

    def missing_in(self, environment: Mapping[str, str]) -> list[str]:
        """The missing variables of an environment, as `NAME=VALUE`."""
        given = environment.get(_PIPELINES, "").replace(",", os.pathsep)
        folders = {Path(each).absolute() for each in given.split(os.pathsep) if each}
        modules = {each.strip() for each in environment.get(_MODULES, "").split(",")}
        lacking_folders = [str(each) for each in self.folders if each not in folders]
        lacking_modules = [each for each in self.modules if each not in modules]
        return [
            *([f"{_PIPELINES}={os.pathsep.join(lacking_folders)}"] if lacking_folders else []),
            *([f"{_MODULES}={','.join(lacking_modules)}"] if lacking_modules else []),
        ]


def needed_by(deployed: Iterable[LoadedPipeline], settings: Settings) -> Needed:
    """The variables that the workers of these pipelines need besides the project itself."""
    files = {Path(each.file).absolute().parent for each in deployed if each.file}
    folders = [folder.absolute() for folder in settings.pipelines_dirs if folder.absolute() in files]
    return Needed(tuple(folders), settings.handler_modules if files else ())


def lacking(needed: Needed, settings: Settings, *, server: str, pool_is_local: bool) -> str:
    """The variables that a worker lacks, with the cure; empty if none is missing.

    It reads the environment of the worker of `braid up`; the environments of other workers are not accessible.
    """
    if not needed.variables:
        return ""
    cure = "or deploy with --with-folders, which writes them into the deployments"
    state = read_state(settings.home / "server")
    worker = state.programs.get("worker") if state is not None and state.url == server and pool_is_local else None
    if worker is None:
        values = " ".join(f"{name}={value}" for name, value in needed.variables.items())
        return f"runs need this in the environment of their workers: {values}; {cure}"
    try:
        environment = psutil.Process(worker.pid).environ()
    except psutil.Error:
        return ""
    missing = needed.missing_in(environment)
    if not missing:
        return ""
    return f"the worker of `braid up` lacks {' and '.join(missing)}: start `braid up` again with it, {cure}"
