"""Entities by rules, their relations, and extractive summaries."""

import pytest

from flows.author import Call
from handlers.ingestion import summarise
from handlers.ingestion.entities import extract_entities
from handlers.ingestion.naming import canonical, mentions_and_meanings, segments, usage_in
from handlers.ingestion.summary import generate_summary, prose_sentences
from handlers.records import Block, Chunk, Document


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It is defined in RFC 7231 and PEP 8.", {("RFC 7231", "IDENTIFIER"), ("PEP 8", "IDENTIFIER")}),
        (
            "Tim Berners-Lee worked at CERN in March 1990.",
            {("Tim Berners-Lee", "NAME"), ("CERN", "ACRONYM"), ("March 1990", "DATE")},
        ),
        (
            "The Apache Software Foundation paid $5 million on 2023-09-14.",
            {("Apache Software Foundation", "ORG"), ("$5 million", "MONEY"), ("2023-09-14", "DATE")},
        ),
        (
            "Write to ann@example.org, see https://example.org/a.",
            {("ann@example.org", "EMAIL"), ("https://example.org/a", "URL")},
        ),
        (
            "Multi-version concurrency control (MVCC) helps.",
            {("MVCC", "ACRONYM"), ("Multi-version concurrency control", "TERM")},
        ),
        (
            "Fixed in RFC-9112 (CVE-2021-44228), see ISO-8859-1.",
            {("RFC 9112", "IDENTIFIER"), ("CVE-2021-44228", "IDENTIFIER"), ("ISO 8859-1", "IDENTIFIER")},
        ),
        (
            "Rows live in SQLite, in PostgreSQL or in what APIs offer.",
            {("SQLite", "NAME"), ("PostgreSQL", "NAME"), ("API", "ACRONYM")},
        ),
        ("However this has no names. Nothing here.", set()),
        ("IN NO EVENT SHALL THE AUTHORS OR Copyright Holders BE LIABLE.", set()),
        ("## Derivative Works\n\nAll derivative works of the works.", set()),
        ("- Ada Lovelace\n- Alan Turing\n", {("Ada Lovelace", "NAME"), ("Alan Turing", "NAME")}),
        ("```\nclass Ada Lovelace\n```\n| CA | CO |", set()),
        ("A long line that is wrapped at the margin names Ada\nLovelace.", {("Ada Lovelace", "NAME")}),
        ("You can run the Redis server. When a client of Redis asks, the Redis server answers.", {("Redis", "NAME")}),
        ("Die lange Auswertung und die neue Auswertung, mit der neuen Auswertung.", set()),
        ("", set()),
    ],
)
def test_rules_find_named_things(text: str, found: set[tuple[str, str]]) -> None:
    parts = list(segments(text))
    assert {each for part in parts for each in mentions_and_meanings(part, usage_in(parts))} == found


@pytest.mark.parametrize(
    ("name", "clean"), [("The  New\nYork's", "New York"), ("Ada Lovelace.", "Ada Lovelace"), ("The", "")]
)
def test_names_have_one_spelling(name: str, clean: str) -> None:
    assert canonical(name) == clean


def chunks_of(*texts: str) -> list[Chunk]:
    return [Chunk(f"c{i}", "doc", i, text, 0, len(text)) for i, text in enumerate(texts)]


def test_names_that_share_a_sentence_are_related_and_every_fact_has_its_chunk() -> None:
    found = extract_entities(
        chunks_of("Ada Lovelace met Charles Babbage. Ada Lovelace met Charles Babbage again. Later came Alan Turing."),
        call=Call(),
    )
    assert [(e.name, e.chunk_id) for e in found["entities"]] == [
        ("Ada Lovelace", "c0"),
        ("Charles Babbage", "c0"),
        ("Alan Turing", "c0"),
    ]
    assert [(r.start, r.end, r.weight) for r in found["relations"]] == [("Ada Lovelace", "Charles Babbage", 2.0)]


def test_an_acronym_stands_for_what_the_text_explains_it_by() -> None:
    chunks = chunks_of("The write-ahead log (WAL) is synced. A WAL file grows.", "The WAL and the XML (see below).")
    relations = [(r.start, r.end, r.kind) for r in extract_entities(chunks, call=Call())["relations"]]
    assert ("WAL", "write-ahead log", "stands_for") in relations
    assert [kind for *_, kind in relations].count("stands_for") == 1


def test_the_same_chunks_always_give_the_same_facts() -> None:
    chunks = chunks_of("Ada Lovelace met Charles Babbage and Alan Turing of CERN, NASA and ESA.", "Ada Lovelace again.")
    assert extract_entities(chunks, call=Call()) == extract_entities(chunks, call=Call())


def test_spacy_leaves_identifiers_to_the_rules() -> None:
    found = extract_entities(chunks_of("Tim Berners-Lee wrote RFC 1738."), model="spacy", call=Call())
    assert ("RFC 1738", "IDENTIFIER") in {(e.name, e.kind) for e in found["entities"]}


def test_spacy_finds_people_and_places_when_asked_for() -> None:
    found = extract_entities(chunks_of("Barack Obama was born in Hawaii."), model="spacy", call=Call())
    assert {(e.name, e.kind) for e in found["entities"]} == {("Barack Obama", "PERSON"), ("Hawaii", "PLACE")}


def test_a_chunk_full_of_names_stays_bounded() -> None:
    words = " ".join(f"Name{chr(65 + i % 26)}{chr(97 + i // 26)} Sur{chr(97 + i % 26)}," for i in range(300))
    found = extract_entities(chunks_of(words), call=Call())
    assert len(found["entities"]) <= 40
    assert len(found["relations"]) <= 120


def test_a_summary_has_the_central_sentences_in_their_order() -> None:
    sentences = [
        "Write-ahead logging makes commits durable on disk.",
        "Bananas are yellow fruits from the tropics entirely.",
        "The write-ahead log records commits before pages change.",
        "Durable commits need the write-ahead log on disk first.",
    ]
    assert summarise(sentences, sentences=3) == [sentences[0], sentences[2], sentences[3]]
    assert summarise(sentences[:2], sentences=3) == sentences[:2]


def test_only_prose_is_summarised() -> None:
    text = "Heading here\n\nThis is a paragraph of prose indeed.\n\ncode = this is not prose at all"
    blocks = (Block("heading", 0, 12, 1), Block("paragraph", 14, 50), Block("code", 52, len(text)))
    document = Document("d", "d.txt", "file:///d.txt", "d", "text/plain", text, "0" * 64, blocks)
    assert prose_sentences(document) == ["This is a paragraph of prose indeed."]
    assert generate_summary([document], call=Call()) == {"d": "This is a paragraph of prose indeed."}
