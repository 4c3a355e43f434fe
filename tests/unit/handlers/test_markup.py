"""Pages with broken markup: their links and pictures are found, and no page makes a reader fail."""

from hypothesis import given
from hypothesis import strategies as st

from handlers.extraction.pictures import Picture, pictures_of_html
from handlers.sources.page_links import read_links

BROKEN = b"<p><![<! [ broken><![foo[x]]><a href='/next'>on</a><img src='oak.png' alt='An oak'>"
PIECES = [
    "<![",
    "<!",
    "[",
    "]]>",
    "-->",
    "<!--",
    "<?",
    "<a href=",
    "'",
    '"',
    ">",
    "</",
    "if !IE",
    "CDATA[",
    " ",
    "x",
    "<",
]


def test_what_follows_a_broken_section_is_read() -> None:
    assert read_links(BROKEN).links == ["/next"]
    assert list(pictures_of_html(BROKEN)) == [Picture("An oak", address="oak.png")]


@given(st.lists(st.sampled_from(PIECES), max_size=12).map("".join))
def test_no_page_makes_a_reader_fail(page: str) -> None:
    read_links(page.encode())
    list(pictures_of_html(page.encode()))
