"""combine_outputs for files: sounds one after another, pictures on a contact sheet, beside the first of them."""

import hashlib
import io
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from flows.author import COMBINERS
from flows.errors import FatalError
from flows.state import Services
from handlers.content.files import AudioFile, ImageFile, MediaFile, content_of, sibling_uri, write_file
from handlers.content.media import image_quality, open_image, read_wav, write_wav
from handlers.content.quality import audio_quality

_GAP_S = 0.3
_CELL = 384
_MOST_FILES = 100


def join_audio(files: Sequence[AudioFile], services: Services) -> AudioFile:
    """All sounds one after another, with a short pause between them, at the sample rate of the first."""
    _check_number(files)
    parts, rate = list[np.ndarray](), 0
    for file in files:
        samples, its_rate = read_wav(content_of(file, services), where=file.uri)
        mono = samples.mean(axis=1)
        rate = rate or its_rate
        if its_rate != rate and len(mono):
            positions = np.arange(0, len(mono) / its_rate, 1 / rate) * its_rate
            mono = np.interp(positions, np.arange(len(mono)), mono).astype(np.float32)
        parts += [np.zeros(int(rate * _GAP_S), np.float32), mono] if parts else [mono]
    joined = np.concatenate(parts)
    about = _write_combined(files, write_wav(joined, rate), "audio/wav", ".wav", services)
    return AudioFile(**about, seconds=round(len(joined) / rate, 3), quality=audio_quality(joined, rate))


def contact_sheet(files: Sequence[ImageFile], services: Services) -> ImageFile:
    """All pictures on one contact sheet, row by row in order, each labelled with its model."""
    from PIL import Image, ImageDraw, ImageFont

    _check_number(files)
    columns = math.ceil(math.sqrt(len(files)))
    rows = math.ceil(len(files) / columns)
    sheet = Image.new("RGB", (columns * _CELL, rows * (_CELL + 24)), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=14)
    for number, file in enumerate(files):
        picture = open_image(content_of(file, services), where=file.uri).convert("RGB")
        picture.thumbnail((_CELL - 8, _CELL - 8))
        left, top = number % columns * _CELL, number // columns * (_CELL + 24)
        sheet.paste(picture, (left + (_CELL - picture.width) // 2, top + (_CELL - picture.height) // 2))
        draw.text(
            (left + _CELL // 2, top + _CELL + 2), file.model or file.provider, font=font, fill="black", anchor="ma"
        )
    data = io.BytesIO()
    sheet.save(data, "PNG")
    about = _write_combined(files, data.getvalue(), "image/png", ".png", services)
    return ImageFile(**about, width=sheet.width, height=sheet.height, quality=image_quality(sheet))


def _check_number(files: Sequence[MediaFile]) -> None:
    if len(files) > _MOST_FILES:
        raise FatalError(f"combine_outputs was given {len(files)} files; it takes {_MOST_FILES}")


def _write_combined(
    files: Sequence[MediaFile], data: bytes, media_type: str, suffix: str, services: Services
) -> dict[str, Any]:
    # The name depends only on the combined files, so a repetition writes the same file.
    name = hashlib.sha256("\0".join(f"{file.uri}\0{file.sha256}" for file in files).encode()).hexdigest()[:12]
    about = write_file(services["storage"], sibling_uri(files[0], f"combined-{name}{suffix}"), data, media_type)
    models = "+".join(dict.fromkeys(file.model or file.provider for file in files))
    return {
        **about,
        "provider": "combine_outputs",
        "model": models,
        "text": files[0].text,
        "placeholder": any(file.placeholder for file in files),
    }


COMBINERS["AudioFile"] = join_audio
COMBINERS["ImageFile"] = contact_sheet
