"""Descriptions of pictures without a vision model: from the file's metadata, its shape and its colours."""

from collections.abc import Mapping
from typing import cast

import numpy as np

from handlers.content.media import image_quality, open_image

_NAMED = {
    "black": (0, 0, 0),
    "white": (255, 255, 255),
    "grey": (128, 128, 128),
    "red": (200, 40, 40),
    "green": (50, 150, 60),
    "blue": (50, 80, 200),
    "yellow": (230, 210, 60),
    "orange": (230, 140, 40),
    "purple": (130, 60, 160),
    "pink": (235, 150, 190),
    "brown": (120, 80, 50),
    "turquoise": (60, 180, 180),
}


def describe(image: bytes, *, where: str) -> str:
    """Two or three sentences from metadata alone; the last sentence states this."""
    picture = open_image(image, where=where)
    about = cast("Mapping[str, object]", picture.info)
    title = next((str(about[key]) for key in ("Title", "Description", "parameters") if about.get(key)), "")
    form = "wide" if picture.width > picture.height else "tall" if picture.height > picture.width else "square"
    colours = _colours(np.asarray(picture.convert("RGB").resize((32, 32))))
    detail = "much detail" if image_quality(picture) > 100 else "little detail"
    caption = f"{title.rstrip('.')}. " if title else ""
    return (
        f"{caption}A {form} {picture.format or 'image'} of {picture.width} by {picture.height} pixels with {detail}, "
        f"mostly {' and '.join(colours)}. Described by its metadata, not by a model that sees."
    )


def _colours(pixels: np.ndarray) -> list[str]:
    names, values = list(_NAMED), np.array(list(_NAMED.values()))
    distances = ((pixels.reshape(-1, 1, 3).astype(int) - values) ** 2).sum(axis=2)
    counts = np.bincount(distances.argmin(axis=1), minlength=len(names))
    return [names[i] for i in np.argsort(-counts, kind="stable")[:2] if counts[i]]
