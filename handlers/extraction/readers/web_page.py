"""Web pages: the main text, without menus, sidebars, advertisements and footers; else the whole page."""

from handlers.extraction.formats import Extracted, RawFile
from handlers.extraction.readers.html import decode_page, read_page
from handlers.extraction.readers.markdown import read_markdown

_SHORTEST = 200
"""The fewest letters of a main text; a shorter one may be wrongly detected."""


def read_web_page(file: RawFile) -> Extracted:
    """The main text as Markdown, with title, author and date as the page has them.

    Source: Barbaresi, Trafilatura: A Web Scraping Library and Command-Line Tool, ACL 2021.
    """
    decoded = decode_page(file.data, assumed=file.encoding)
    whole = read_page(decoded.text, file)
    metadata = (*whole.metadata, *decoded.metadata)
    try:
        import trafilatura
    except ImportError:  # installed with the extra `web`, which the source requires
        return Extracted(whole.text, whole.blocks, whole.title, metadata)
    options = {"output_format": "markdown", "include_tables": True, "include_comments": False, "with_metadata": False}
    found = trafilatura.extract(decoded.text, **options)
    if not found or len(found) < min(_SHORTEST, len(whole.text) // 2):
        return Extracted(whole.text, whole.blocks, whole.title, metadata)
    main = read_markdown(found)
    return Extracted(main.text, main.blocks, whole.title, metadata)
