"""Picture files, whose only text is the text recognised in them (OCR)."""

from handlers.extraction.formats import Extracted, RawFile
from handlers.extraction.recognition import frames_of

_MOST_FRAMES = 2_000


def read_image(file: RawFile) -> Extracted:
    """An empty text and the number of pictures, each of which is a page for text recognition.

    Raises:
        Unreadable: it is not a picture, or is damaged.
    """
    count = min(frames_of(file.data), _MOST_FRAMES)
    return Extracted("", metadata=(("page_count", str(count)),), scanned_pages=tuple(range(1, count + 1)))
