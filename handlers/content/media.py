"""Reads and writes the bytes of sounds (WAV) and pictures, with limits for files from outside."""

import io
import wave
from typing import TYPE_CHECKING, Any

import numpy as np

from flows.errors import FatalError
from handlers.content.quality import sharpness

if TYPE_CHECKING:
    from PIL import Image

MOST_SECONDS = 3600
MOST_PIXELS = 50_000_000
_COMPARED_AT = 512
"""The longer side in pixels at which sharpness is measured, so that size alone does not count as quality."""


def read_wav(data: bytes, *, where: str) -> tuple[np.ndarray, int]:
    """Samples, float32 in [-1, 1], shape (frames, channels), and the frames per second.

    Raises:
        FatalError: it is not a WAV of 8, 16 or 32 bits, or too long; `where` names it.
    """
    try:
        with wave.open(io.BytesIO(data)) as file:
            rate, channels, width = file.getframerate(), file.getnchannels(), file.getsampwidth()
            # Streamed files have a wrong length in their header, so count the actual frames.
            frames = file.readframes(min(file.getnframes(), rate * MOST_SECONDS + 1))
    except (wave.Error, EOFError) as error:
        raise FatalError(f"{where} is not a WAV file that can be read: {error}") from error
    kinds: dict[int, Any] = {1: np.uint8, 2: np.dtype("<i2"), 4: np.dtype("<i4")}
    if width not in kinds:
        raise FatalError(f"{where} has samples of {8 * width} bits; use 8, 16 or 32")
    values = np.frombuffer(frames[: len(frames) // (width * channels) * width * channels], dtype=kinds[width])
    if len(values) > rate * channels * MOST_SECONDS:
        raise FatalError(f"{where} is longer than {MOST_SECONDS} seconds")
    scaled = (values.astype(np.float32) - 128) / 128 if width == 1 else values.astype(np.float32) / 2 ** (8 * width - 1)
    return scaled.reshape(-1, channels), rate


def write_wav(samples: np.ndarray, rate: int) -> bytes:
    """A WAV of 16 bits; `samples` are floats in [-1, 1], shape (frames,) or (frames, channels)."""
    shaped = samples if samples.ndim == 2 else samples[:, None]
    file = io.BytesIO()
    with wave.open(file, "wb") as output:
        output.setnchannels(shaped.shape[1])
        output.setsampwidth(2)
        output.setframerate(rate)
        output.writeframes((np.clip(shaped, -1.0, 32767 / 32768) * 32768).astype("<i2").tobytes())
    return file.getvalue()


def open_image(data: bytes, *, where: str) -> "Image.Image":
    """A picture, decoded completely.

    Raises:
        FatalError: it cannot be read as a picture, or is too large; `where` names it.
    """
    from PIL import Image

    try:
        picture = Image.open(io.BytesIO(data))
        if picture.width * picture.height > MOST_PIXELS:
            raise FatalError(f"{where} has {picture.width} by {picture.height} pixels, more than {MOST_PIXELS} in all")
        picture.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise FatalError(f"{where} is not a picture that can be read: {error}") from error
    return picture


def image_quality(picture: "Image.Image") -> float:
    """Its sharpness, measured at one size for all pictures."""
    grey = picture.convert("L")
    grey.thumbnail((_COMPARED_AT, _COMPARED_AT))
    return sharpness(np.asarray(grey))
