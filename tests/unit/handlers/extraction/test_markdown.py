import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.extraction.assembly import Assembly
from handlers.extraction.readers.delimited import read_csv
from handlers.extraction.readers.markdown import read_markdown
from handlers.extraction.readers.plain import read_text
from handlers.records import Block

PIECES = st.sampled_from(
    [
        "# A\n",
        "text",
        "\n",
        "\n\n",
        "- item",
        "  - nested\n",
        "```\n",
        "~~~",
        "    code\n",
        "| a | b |\n|---|---|\n",
        "> q",
        "1. one\n",
        "<!-- c -->\n",
        "![alt](x.png)",
        "![](x.png)",
        "===\n",
        "---\n",
        "\t",
        "\x0b",
        "\u2028",
        "語。",
        "مرحبا ",
        "\x85",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=8), max_size=25).map("".join)


def check(text: str, blocks) -> None:
    position = 0
    for block in blocks:
        assert position <= block.start < block.end <= len(text)
        assert text[block.start : block.end].strip()
        position = block.end


@given(TEXTS)
def test_blocks_of_markdown_are_ordered_and_disjoint(text: str):
    check(text, read_markdown(text).blocks)


@given(TEXTS)
def test_blocks_of_text_hold_all_its_words(text: str):
    blocks = read_text(text).blocks
    check(text, blocks)
    kept = "".join(text[block.start : block.end] for block in blocks)
    assert "".join(kept.split()) == "".join(text.split())


@given(st.lists(st.tuples(st.sampled_from(["add", "heading", "code", "table"]), st.text(max_size=20)), max_size=10))
def test_assembled_blocks_are_where_they_say(pieces: list[tuple[str, str]]):
    assembly = Assembly()
    for how, text in pieces:
        match how:
            case "add":
                assembly.add("paragraph", text)
            case "heading":
                assembly.heading(text, 2)
            case "code":
                assembly.code(text)
            case _:
                assembly.table([[text, "b"], ["c"]])
    check(assembly.text, assembly.blocks)
    assert "\n\n".join(assembly.text[block.start : block.end] for block in assembly.blocks) == assembly.text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# A\n\ntext\nmore\n", [("heading", "# A"), ("paragraph", "text\nmore")]),
        ("Title\n===\n", [("heading", "Title\n===")]),
        ("- a\n- b\n\n  more\n", [("list", "- a\n- b\n\n  more")]),
        ("- a\n\n  ```\n  x\n  ```\n- b\n", [("list", "- a"), ("code", "  ```\n  x\n  ```"), ("list", "- b")]),
        ("<!-- c -->\n\n> quoted\n", [("paragraph", "> quoted")]),
        ("![a cat](c.png)\n\n![](d.png)\n", [("caption", "![a cat](c.png)")]),
        ("---\nlang: en\n---\ntext", [("paragraph", "lang: en"), ("paragraph", "text")]),
    ],
)
def test_markdown(text: str, expected: list[tuple[str, str]]):
    assert [(block.kind, text[block.start : block.end]) for block in read_markdown(text).blocks] == expected


def test_headings_of_plain_text_have_levels_by_their_marks():
    text = "====\nBook\n====\n\nPart\n----\nbody::\n\n    code\n\n* a\n* b\n\nNext\n----\n"
    assert [(block.kind, block.level) for block in read_text(text).blocks] == [
        ("heading", 1),
        ("heading", 2),
        ("paragraph", 0),
        ("code", 0),
        ("list", 0),
        ("heading", 2),
    ]


def test_a_table_of_one_column_stays_one():
    assert read_csv("name\noak\n").blocks == [Block("table", 0, len("| name |\n| --- |\n| oak |"))]
