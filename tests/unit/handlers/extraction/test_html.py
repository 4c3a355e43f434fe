"""All words of a page arrive, in order; navigation does not."""

import pytest

from handlers.extraction.formats import RawFile, Unreadable
from handlers.extraction.readers.html import read_html


def read(body: str, head: str = "") -> list[tuple[str, str]]:
    found = read_html(RawFile(f"<html><head>{head}</head><body>{body}</body></html>".encode()))
    return [(block.kind, found.text[block.start : block.end]) for block in found.blocks]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("<div>One<span> two</span></div>three", [("paragraph", "One two"), ("paragraph", "three")]),
        ("<p>a<br>b</p>", [("paragraph", "a\nb")]),
        (
            "<form><p>Name</p><label>First</label><select><option>no</option></select></form>",
            [("paragraph", "Name"), ("paragraph", "First")],
        ),
        (
            "<dl><dt>Limit</dt><dd>Two</dd><dt>Unit</dt><dd>Litre</dd></dl>",
            [("list", "- Limit\n  Two\n- Unit\n  Litre")],
        ),
        ("<ul><li>a<ul><li>b</li></ul></li><li><p>c</p><p>d</p></li></ul>", [("list", "- a\n  - b\n- c\n  d")]),
        ("<ol start=3><li>a</li><li value=7>b</li><li>c</li></ol>", [("list", "3. a\n7. b\n8. c")]),
        (
            "<ul><li>run <pre>x\n y</pre> now</li></ul>",
            [("list", "- run"), ("code", "```\nx\n y\n```"), ("list", "now")],
        ),
        ("<pre class='language-py'><code>a<br>b</code></pre>", [("code", "```py\na\nb\n```")]),
        ("<p>x<sup>2</sup> and 1<sup>st</sup> of H<sub>2</sub>O</p>", [("paragraph", "x^2 and 1st of H2O")]),
        ("<h2>A <a class=headerlink href='#a'>¶</a></h2><h2>&nbsp;</h2>", [("heading", "## A")]),
        ("<table><tr><td><h1>T</h1><p>layout</p></td></tr></table>", [("heading", "# T"), ("paragraph", "layout")]),
        (
            "<table><caption>C</caption><tr><th colspan=2>a</th></tr><tr><td rowspan=2>b</td><td>c</td></tr><tr><td>d</td></tr></table>",
            [("caption", "C"), ("table", "| a |  |\n| --- | --- |\n| b | c |\n|  | d |")],
        ),
        (
            "<table><tr><td>one <p>two</p></td><td><img alt='duck'></td></tr><tr><td>x</td><td>y</td></tr></table>",
            [("table", "| one two | duck |\n| --- | --- |\n| x | y |")],
        ),
        ("<p>seen<span hidden>not</span><span style='display: none'>nor</span></p>", [("paragraph", "seen")]),
        ("<div hidden=until-found>found</div>", [("paragraph", "found")]),
        ("<details><summary>More</summary>inside</details>", [("paragraph", "More"), ("paragraph", "inside")]),
        (
            "<figure><img alt='A map'><figcaption>Fig. 1</figcaption></figure>",
            [("caption", "A map"), ("caption", "Fig. 1")],
        ),
        ("<p>a<!-- no -->b<script>no()</script><style>no{}</style><template>no</template></p>", [("paragraph", "ab")]),
        ("<my-card>In <b>bold</b>ness</my-card>", [("paragraph", "In boldness")]),
        ("<svg><text>Label</text></svg>", [("paragraph", "Label")]),
        ("<p>&lt;tag&gt; &amp; &#8364;</p>", [("paragraph", "<tag> & €")]),
    ],
)
def test_blocks(body: str, expected: list[tuple[str, str]]):
    assert read(body) == expected


def test_navigation_is_left_out_and_text_around_the_page_is_not():
    page = """<header><a href=/>Home</a> <a href=/b>Blog</a></header><nav>Menu</nav><ul><li><a href=a>A</a></li><li><a href=b>B</a></li></ul>
    <h1>Title</h1><p>Words with <a href=x>a link</a>.</p><p><a href=p>Previous</a> <a href=n>Next</a></p>
    <footer><p>Made in <a href=b>Bonn</a> by the pump house.</p></footer><footer><a href=i>Imprint</a></footer>"""
    assert read(page) == [
        ("heading", "# Title"),
        ("paragraph", "Words with a link."),
        ("paragraph", "Made in Bonn by the pump house."),
    ]


def test_a_page_that_is_only_a_menu_keeps_it():
    assert read("<nav><a href=a>Valves</a></nav>") == [("paragraph", "Valves")]


def test_the_head_is_metadata():
    head = '<title> A\n b </title><meta name="description" content="of pumps"><meta name=author content=Ann>'
    found = read_html(RawFile(f"<html lang=de><head>{head}</head><body>x</body></html>".encode()))
    assert found.title == "A b"
    assert found.metadata == (("description", "of pumps"), ("authors", "Ann"), ("language", "de"))


@pytest.mark.parametrize(
    ("declared", "encoding"),
    [
        ('<meta charset="undefined">', "utf-8"),
        ('<meta charset="windows-1251">', "cp1251"),
        ('<meta http-equiv="Content-Type" content="text/html; charset=koi8-r">', "koi8-r"),
        ('<?xml version="1.0" encoding="windows-1251"?>', "cp1251"),
        ('<meta charset="hex">', "utf-8"),
    ],
)
def test_an_encoding_is_taken_as_declared_if_it_is_one(declared: str, encoding: str):
    assert "Привет, мир" in read_html(RawFile(f"{declared}<p>Привет, мир</p>".encode(encoding))).text


@pytest.mark.parametrize("page", ["", "   ", "<html></html>", "<!-- -->", "<br>", "\x00"])
def test_a_page_without_words_is_empty(page: str):
    assert read_html(RawFile(page.encode())).text == ""


def test_a_deep_page_keeps_its_words():
    assert "bottom" in read_html(RawFile(b"<div>" * 400 + b"bottom" + b"</div>" * 400)).text
    with pytest.raises(Unreadable, match="nested too deeply"):
        read_html(RawFile(b"<b>" * 3000 + b"bottom"))
