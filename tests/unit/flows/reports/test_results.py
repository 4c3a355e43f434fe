"""The page with the result of a run: each kind of output in a readable form, and nothing that a browser would load from elsewhere."""

import base64
from typing import Any

import pytest

from flows.author import OutputRecord
from flows.reports import result_markdown

PASSAGE = {
    "id": "c1",
    "document_id": "d1",
    "name": "storage_*engine*.md",
    "score": 0.5,
    "content": "x " * 400 + "The WAL is\nwritten first." + " y" * 400,
    "page": 3,
    "heading": "The log",
    "start": 10,
    "end": 60,
    "highlights": [[804, 807]],
    "scores": {"vector": 0.75, "keyword": 9.0},
    "duplicates": [["c2", "d2"]],
}


def shown(value: Any, **more: Any) -> str:
    return result_markdown([OutputRecord("found", value)], **more)


def test_passages_have_document_page_highlights_and_scores() -> None:
    page = shown([PASSAGE])
    assert r"**1. storage\_\*engine\*.md**, page 3, The log, characters 10–60" in page
    assert "The **WAL** is written first." in page
    assert "> …x x" in page
    assert "score **0.5000** (vector 0.750 · keyword 9.000) · 1 near duplicate(s)" in page


def test_an_answer_has_its_citations() -> None:
    cited = {"number": 1, "document": "a.md", "page": None, "heading": "Top", "start": 0, "end": 9}
    page = shown({"text": "It is **so** [1].", "citations": [cited], "unknown": []})
    assert "It is **so** [1].\n" in page
    assert r"- \[1\] **a.md**, Top, characters 0–9" in page


def test_lists_of_mappings_are_tables() -> None:
    page = shown([{"name": "a|b", "number": 1.5}, {"name": "c", "more": [1, 2]}])
    assert page.endswith("| name | number | more |\n|---|---|---|\n| a\\|b | 1.5 |  |\n| c |  | 1, 2 |")
    assert "*and 50 more rows*" in shown([{"number": number} for number in range(150)])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("# A title\n\n- one", "# A title\n\n- one"),
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("![](https://example.org/counted.png)", r"!\[](https://example.org/counted.png)"),
        (7, "**7**"),
        (None, "nothing"),
        ([], "an empty list"),
        (["a", "<b>"], "- a\n- \\<b\\>"),
        ({"a": 1, "b": {"c": 2}}, "| name | value |\n|---|---|\n| a | 1 |\n| b | c: 2 |"),
    ],
)
def test_other_values(value: Any, expected: str) -> None:
    assert shown(value) == f"### found\n\n{expected}"


def test_files_are_links_and_small_pictures_are_in_the_page() -> None:
    picture = {"uri": "file:///a/one.png", "media_type": "image/png", "size": 3, "width": 2, "height": 1}
    large = {**picture, "uri": "file:///a/large.png", "size": 10_000_000}
    sound = {"uri": "s3://b/voice.wav", "media_type": "audio/wav", "size": 9, "seconds": 1.25}
    asked: list[str] = []

    def read(uri: str, most: int) -> bytes:
        asked.append(uri)
        return b"png"

    page = shown({"pictures": [picture, large], "voices": {"a": sound}}, read=read)
    assert "[one.png](<file:///a/one.png>) (image/png, 2 × 1, 3 bytes): `file:///a/one.png`" in page
    assert f"![](data:image/png;base64,{base64.b64encode(b'png').decode()})" in page
    assert "(audio/wav, 1.2 s, 9 bytes): `s3://b/voice.wav`" in page
    assert asked == ["file:///a/one.png"]


def test_a_picture_that_cannot_be_read_is_a_link() -> None:
    def read(uri: str, most: int) -> bytes:
        raise OSError("gone")

    page = shown({"uri": "file:///a/one.png", "media_type": "image/png", "size": 3}, read=read)
    assert page.endswith("`file:///a/one.png`")


def test_a_shortened_value_names_the_file_with_all_of_it() -> None:
    page = result_markdown([OutputRecord("a", "begin…", "Everything.", "str", True, "file:///all.json")])
    assert page == "### a\n\nEverything.\n\nbegin…\n\n*This is only the beginning.* The whole value: `file:///all.json`"


def test_a_pipeline_without_outputs() -> None:
    assert result_markdown([]) == "This pipeline has no outputs."


def test_a_passage_is_quoted_without_the_marks_of_headings_and_tables() -> None:
    content = "## The lamp\n\n| colour | means |\n| --- | --- |\n| green | *full* |\n\nIt blinks  twice."
    marks = [[3, 11], [content.index("green"), content.index("green") + 5], [content.index("blinks"), len(content)]]
    page = shown([{"document_id": "d", "score": 1, "content": content, "highlights": marks}])
    assert "> **The lamp** colour · means **green** · \\*full\\* It **blinks twice.**\n" in page


@pytest.mark.parametrize(
    ("content", "quoted"), [("## 4. Motivation", "4\\. Motivation"), ("- one", "\\- one"), ("2.5 is all", "2.5 is all")]
)
def test_a_quoted_passage_begins_no_list(content: str, quoted: str) -> None:
    assert f"\n> {quoted}\n" in shown([{"document_id": "d", "score": 1, "content": content}])


def test_outputs_without_a_value_share_one_line() -> None:
    page = result_markdown([OutputRecord("a", 1), OutputRecord("b", None), OutputRecord("c", None)])
    assert page == "### a\n\n**1**\n\nWithout a value: b, c."
    assert result_markdown([OutputRecord("b", None)]) == "### b\n\nnothing"
