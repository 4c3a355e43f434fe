"""Inputs that were once extracted wrongly, with the words that the text and its passages must contain."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from handlers.extraction import to_document
from handlers.ingestion.partition import partition_document
from handlers.records import Chunk, Document, SourceFile

FOLDER = Path(__file__).parents[3] / "cases" / "documents"
CASES: dict[str, tuple[Sequence[str], Sequence[str]]] = {
    "bare_div.html": (
        "12 Alpha Street|Beta Town|Intro.|close the valve first|Limit|Two hundred litres|Quoted words|Caption words|"
        "Span words|End.".split("|"),
        [],
    ),
    "page_in_form.html": (["Pump manual", "Prime the pump for ninety seconds."], ["---"]),
    "surrogate.json": (["smile", "cut off"], []),
    "ampersand.docx": (["Terms & Conditions", "AT&T costs < 5 & > 3", "?a=1&b=2"], ["ATT ", "a=1b=2"]),
    "textbox_fallback.docx": (["After."], []),
    "first_footnote.docx": (["A claim", "Footnote one names the ledger", "Footnote two names the archive"], []),
    "hyphenation.pdf": (["cryptographic", "department", "information"], ["\u0002"]),
    "positioned.pdf": (["12,40 m", "8,50 m", "480 t", "2.350 t"], ["1 2 , 4"]),
    "latin1_quotes.html": (["“stop” – it costs €20, that’s final"], ["\u0093"]),
    "czech_latin2.txt": (["Příliš žluťoučký kůň"], []),
    "turkish_cp1254.txt": (["yağız şoföre"], []),
    "one_bad_byte.txt": (["Köln", "Straße", "München"], ["KĂ¶ln"]),
    "html_between_sections.md": (["Zinc plan", "forty"], []),
    "rows.csv": (["P-0399"], []),
    "amounts.json": (["19.90", "first", "second", "0.1000000000000000055511"], []),
    "document2.docx": (["A claim"], []),
}


def read(name: str) -> tuple[Document, list[Chunk]]:
    data = (FOLDER / name).read_bytes()
    document = to_document(SourceFile(name, name, len(data)), data)
    return document, partition_document(document, lambda text: 2 * len(text.split()))


@pytest.mark.parametrize("name", CASES)
def test_all_words_arrive_in_some_passage(name: str):
    document, chunks = read(name)
    has, lacks = CASES[name]
    for words in has:
        assert words in document.text
        assert any(words in chunk.text for chunk in chunks)
    for words in lacks:
        assert words not in document.text
    assert all(chunk.text == document.text[chunk.start : chunk.end] for chunk in chunks)


def test_every_case_is_tested():
    assert {path.name for path in FOLDER.iterdir()} == set(CASES)


def test_the_words_of_a_text_box_come_once_and_in_order():
    document, _ = read("textbox_fallback.docx")
    lines = document.text.split("\n\n")
    assert lines[-1] == "After."
    assert len(lines) == len(set(lines)) == 3


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("czech_latin2.txt", {"encoding": "iso8859-2", "encoding_guessed": "yes"}),
        ("turkish_cp1254.txt", {"encoding": "cp1254", "encoding_guessed": "yes"}),
        ("one_bad_byte.txt", {"damaged_characters": "5"}),
        ("latin1_quotes.html", {"encoding": "cp1252"}),
    ],
)
def test_a_document_says_which_encoding_it_was_read_in(name: str, metadata: dict[str, str]):
    document, _ = read(name)
    assert dict(document.metadata) == metadata
    assert document.text.count("\ufffd") == int(metadata.get("damaged_characters", 0))


def test_every_passage_of_a_table_names_its_columns():
    _, chunks = read("rows.csv")
    assert len(chunks) > 5
    for chunk in chunks:
        embedded = f"{chunk.heading}\n{chunk.text}"
        assert all(column in embedded for column in ("part", "supplier", "lead_time_days"))


def test_a_cell_may_be_long():
    data = b"id,text\n1," + b"word " * 30_000 + b"end\n2,short\n"
    document = to_document(SourceFile("long.csv", "long.csv", len(data)), data)
    chunks = partition_document(document, lambda text: 2 * len(text.split()))
    assert any("end" in chunk.text for chunk in chunks)
    assert any("short" in chunk.text for chunk in chunks)
