"""Pictures as files: they have no text but what can be recognised in them."""

from handlers.extraction.formats import Extracted, RawFile
from handlers.extraction.recognition import frames_of

_MOST_FRAMES = 2_000


def read_image(file: RawFile) -> Extracted:
    """Nothing but the number of pictures, each of which is a page to be recognised.

    Raises:
        Unreadable: it is no picture, or is damaged.
    """
    count = min(frames_of(file.data), _MOST_FRAMES)
    return Extracted("", metadata=(("page_count", str(count)),), scanned_pages=tuple(range(1, count + 1)))
