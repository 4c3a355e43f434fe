"""Runs content chains like real runs, offline or at the tests' endpoint, and checks the made sounds and pictures."""

import asyncio
import io
import shutil
import wave
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flows.author import RunResult, load_modules
from flows.engine import Prepared, run_plan
from flows.loaders import load_pipeline_text
from flows.planning import make_plan
from flows.state import Context, Identity, Services
from flows.storage import Storage
from handlers.content.files import AudioFile, ImageFile, MediaFile
from handlers.content.providers import ContentProvider, OfflineProvider
from handlers.models import ChatModel
from tests.support.paths import EXAMPLES

CHAINS = EXAMPLES / "dialects" / "chains"
needs_speech = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="needs Debian's package espeak-ng")


def content_services(folder: Path, provider: ContentProvider | None = None, chat: ChatModel | None = None) -> Services:
    return Services(
        {
            "storage": Storage,
            "artifacts_url": partial(str, folder / "artifacts"),
            "content": lambda: provider or OfflineProvider(),
            "chat": lambda: chat or ChatModel(),
        }
    )


def run_chain(
    text: str, fields: Mapping[str, Any] | None = None, *, services: Services, run_id: str = "run-1"
) -> tuple[RunResult, Mapping[str, Any]]:
    """Run a chain, given as YAML; return its result and its fields."""
    load_modules(["handlers.content"])
    loaded = load_pipeline_text(text, file="chain.yaml")
    plan = make_plan(loaded, given=list(fields or {}))
    defaults = {name: one.default for name, one in loaded.pipeline.parameters.items() if one.default is not None}
    context = Context({**defaults, **(fields or {})}, identity=Identity("chain", run_id, services=services))
    result = asyncio.run(run_plan(Prepared(plan, context)))
    return result, context.data


def content(file: MediaFile) -> bytes:
    return Storage().read(file.uri)


def heard(file: AudioFile) -> float:
    """The seconds of a WAV that plays and is not silent."""
    with wave.open(io.BytesIO(content(file))) as played:
        frames = np.frombuffer(played.readframes(played.getnframes()), dtype="<i2").astype(float)
        seconds = played.getnframes() / played.getframerate()
    assert np.sqrt((frames**2).mean()) > 300, "silent"
    return seconds


def seen(file: ImageFile) -> Image.Image:
    picture = Image.open(io.BytesIO(content(file)))
    picture.load()
    colours = picture.convert("RGB").getcolors(1 << 24)
    assert colours is not None
    assert len(colours) > 5, "an empty picture"
    return picture
