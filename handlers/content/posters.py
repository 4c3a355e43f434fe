"""Placeholders for generated pictures: without an image model, the prompt is typeset as a poster.

Every poster is labelled as a placeholder, in the picture and in the file's metadata.
"""

import colorsys
import hashlib
import io
import re
import textwrap

from flows.errors import FatalError

SIZE = re.compile(r"(\d{2,4})x(\d{2,4})")
LABEL = "PLACEHOLDER, not drawn by a model"
_MOST_WORDS = 120


def parse_size(size: str) -> tuple[int, int]:
    """Width and height of a text such as `1024x768`.

    Raises:
        FatalError: it is not a size, or below 64 or above 4096.
    """
    found = SIZE.fullmatch(size)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (64 <= width <= 4096 and 64 <= height <= 4096):
        raise FatalError(f"{size!r} is not a size; write WIDTHxHEIGHT, each from 64 to 4096, for example 768x768")
    return width, height


def draw_poster(prompt: str, *, model: str, size: tuple[int, int]) -> bytes:
    """A PNG with the prompt's words; prompt and model determine the colours, and equal input gives equal bytes."""
    from PIL import Image, ImageDraw, ImageFont
    from PIL.PngImagePlugin import PngInfo

    width, height = size
    digest = hashlib.sha256(f"{model}\0{prompt}".encode()).digest()
    top, bottom = _colour(digest[0], 0.55), _colour(digest[1], 0.25)
    ramp = Image.linear_gradient("L").resize((width, height))
    picture = Image.composite(Image.new("RGB", size, bottom), Image.new("RGB", size, top), ramp)
    draw = ImageDraw.Draw(picture)
    for number in range(6):
        radius = width * (8 + digest[4 + number] % 20) // 100
        x, y = width * digest[10 + number] // 255, height * digest[16 + number] // 255
        draw.ellipse(
            (x - radius, y - radius, x + radius, y + radius), outline=_colour(digest[22 + number], 0.8), width=3
        )
    text, font_size = _fit_words(prompt, width, height)
    font, small = ImageFont.load_default(size=font_size), ImageFont.load_default(size=max(10, width // 40))
    at = (width // 2, height // 2)
    draw.multiline_text(
        at,
        text,
        font=font,
        fill="white",
        stroke_width=max(1, font_size // 16),
        stroke_fill="black",
        anchor="mm",
        align="center",
    )
    caption = f"{model} · {LABEL}" if model else LABEL
    draw.text(
        (width // 2, height - width // 30),
        caption,
        font=small,
        fill="white",
        stroke_width=1,
        stroke_fill="black",
        anchor="mb",
    )
    about = PngInfo()
    for key, value in {"Title": prompt, "Software": "Braid", "Comment": LABEL, "Model": model}.items():
        about.add_itxt(key, value)
    file = io.BytesIO()
    picture.save(file, "PNG", pnginfo=about)
    return file.getvalue()


def moving_poster(image: bytes, *, seconds: float, where: str) -> bytes:
    """An animated WebP that slowly zooms into the middle of a picture."""
    from handlers.content.media import open_image

    picture = open_image(image, where=where).convert("RGB")
    picture.thumbnail((480, 480))
    count = max(2, min(120, int(seconds * 8)))
    frames = [
        picture.resize(picture.size, box=(dx, dy, picture.width - dx, picture.height - dy))
        for dx, dy in ((picture.width * i / count / 8, picture.height * i / count / 8) for i in range(count))
    ]
    file = io.BytesIO()
    frames[0].save(file, "WEBP", save_all=True, append_images=frames[1:], duration=125, loop=0, quality=70, method=0)
    return file.getvalue()


def _colour(number: int, lightness: float) -> tuple[int, int, int]:
    red, green, blue = colorsys.hls_to_rgb(number / 255, lightness, 0.6)
    return round(red * 255), round(green * 255), round(blue * 255)


def _fit_words(prompt: str, width: int, height: int) -> tuple[str, int]:
    """The prompt broken into lines, and the largest font size at which they fit."""
    words = prompt.split()
    shown = " ".join(words[:_MOST_WORDS]) + (" …" if len(words) > _MOST_WORDS else "")
    for size in range(width // 9, 9, -2):
        lines = textwrap.wrap(shown, max(4, int(width * 0.9 / (size * 0.55)))) or [""]
        if len(lines) * size * 1.25 <= height * 0.75:
            return "\n".join(lines), size
    return "\n".join(textwrap.wrap(shown, max(4, width // 6))), 10
