"""Terms: one folding for documents and queries, in every script."""

import threading
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.languages import detect
from handlers.text import compounds, contains, located_terms, terms


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The rows, the ROWS and a row’s key", ["row", "row", "row", "key"]),
        ("running runners ran", ["run", "runner", "ran"]),
        ("RFC 7231, CVE-2021-44228 and snake_case", ["rfc", "7231", "cve", "2021", "44228", "snake", "case"]),
        ("don’t can't it's we've O'Reilly's", ["o'reilli", "reilli"]),
        ("l'avion d’İstanbul'da", ["l'avion", "avion", "d'istanbul'da", "istanbul"]),
        ("İSTANBUL ISPARTA ısparta", ["istanbul", "isparta", "isparta"]),
        ("שָׁלוֹם مُحَمَّد محـــمد", ["שלום", "محمد", "محمد"]),
        ("می\u200cخواهم data\u00adbase", ["میخو", "databas"]),
        ("the WHO asks IT who it is", ["WHO", "ask", "IT"]),
        ("WHO", ["WHO"]),
        ("WHAT IS IT ABOUT\nask IT", ["ask", "IT"]),
        ("ﬁle ＡＢＣ Cafe\u0301", ["file", "abc", "café"]),
        ("数据库abc数", ["数据", "据库", "abc", "数"]),
        ("データベース", ["デー", "ータ", "タベ", "ベー", "ース"]),
        ("데이터를", ["데이", "이터", "터를"]),
        ("हिन्दी में", ["हिन्द"]),
        ("Größe ЖУРНАЛ", ["grösse", "журна"]),
        ("the of and", []),
        ("— … !", []),
        ("", []),
    ],
)
def test_terms_are_folded_stemmed_and_without_stop_words(text: str, found: list[str]) -> None:
    assert terms(text) == found


@given(
    st.lists(
        st.sampled_from(["WHO ", "IT ", "I'LL ", "who ", "don't ", "Reports ", "数据库", "abc", ", ", "\n"])
        | st.text(max_size=4)
    )
)
def test_terms_that_are_known_by_word_are_those_found_in_place(pieces: list[str]) -> None:
    text = unicodedata.normalize("NFKC", "".join(pieces))
    assert set(terms(text)) | set(compounds(text)) == {term for term, _, _ in located_terms(text)}


def test_terms_are_the_same_in_every_thread() -> None:
    texts = [" ".join(f"normalisation{i} running{j} databases" for i in range(20)) for j in range(50)]
    alone = [terms(text) for text in texts]
    results: dict[int, list[list[str]]] = {}
    threads = [
        threading.Thread(target=lambda n=n: results.update({n: [terms(text) for text in texts]})) for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [results[n] for n in range(4)] == [alone] * 4


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("A bridge, bridges", [("bridg", "bridge"), ("bridg", "bridges")]),
        ("🚀 Cafe\u0301 👩‍👩‍👧 ﬁle", [("café", "Cafe\u0301"), ("file", "ﬁle")]),
        ("ｶﾞﾗｽ", [("ガラ", "ｶﾞﾗ"), ("ラス", "ﾗｽ")]),
        ("½ cup", [("1", "½"), ("2", "½"), ("cup", "cup")]),
        ("数据库", [("数据", "数据"), ("据库", "据库")]),
        ("\u1112\u1161\u11ab", [("한", "\u1112\u1161\u11ab")]),
        # A mark that only its compatibility form shows to be one lets the accent pass to the letter before it.
        ("A\uff9e\u0300", [("à", "A\uff9e\u0300")]),
        ("d'Istanbul", [("d'istanbul", "d'Istanbul"), ("istanbul", "d'Istanbul")]),
    ],
)
def test_every_term_knows_the_stretch_it_comes_from(text: str, places: list[tuple[str, str]]) -> None:
    assert [(term, text[start:end]) for term, start, end in located_terms(text)] == places


letters = st.text(
    st.sampled_from("aAbßİıΣςé\u0301\u0327ﬁｶﾞ가\u1112\u1161\u11abไท数据शिא\u05b8ـ\u200c\u00ad½①🚀\u0f71 .'’\n"),
    max_size=30,
)


@given(st.one_of(st.text(max_size=30), letters))
def test_places_do_not_change_the_terms(text: str) -> None:
    located = located_terms(text)
    assert {term for term, _, _ in located} == set(terms(text)) | set(compounds(text))
    assert all(0 <= start < end <= len(text) for _, start, end in located)
    assert [start for _, start, _ in located] == sorted(start for _, start, _ in located)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Use v2.3.1, not (v2.3.10).", ["v2.3.1", "v2.3.10"]),
        ("call foo_bar::baz() in C++ or C#, .NET too", ["foo_bar::baz", "foo_bar", "c++", "c#", ".net"]),
        ("__init__ and /etc/ntp.conf.", ["__init__", "/etc/ntp.conf", "ntp.conf"]),
        ("CVE-2021-44228, ERR-42, 3.5, 25,000 and 12:30", ["cve-2021-44228", "err-42", "3.5", "25,000", "12:30"]),
        ("well-known and/or e.g. the U.S.; it’s boundary-layer 1842 (a) x86 10:", []),
    ],
)
def test_names_with_punctuation_inside_are_compounds_and_prose_has_none(text: str, found: list[str]) -> None:
    assert compounds(text) == found


@pytest.mark.parametrize(
    ("language", "text", "found"),
    [
        ("german", "Die Häuser und das Haus", ["haus", "haus"]),
        ("french", "les maisons de la ville", ["maison", "vill"]),
        ("turkish", "evlerin IŞIĞI ve ev", ["ev", "işik", "ev"]),
    ],
)
def test_words_are_stemmed_and_stopped_by_language(language: str, text: str, found: list[str]) -> None:
    assert terms(text, language) == found


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("english", "The storm is over the river, and it is not in the town."),
        ("german", "Der Hund ist nicht im Haus, und die Katze ist auch nicht da."),
        ("french", "Le chat n’est pas dans la maison et il est avec nous."),
        ("spanish", "El gato no está en la casa, y la niña tampoco con los libros."),
        ("english", "error 404"),
        ("english", "Mọi người sinh ra đều được tự do và bình đẳng"),
    ],
)
def test_a_language_is_known_by_its_function_words(language: str, text: str) -> None:
    assert detect(text) == language


def test_a_phrase_stands_word_for_word() -> None:
    assert contains("The  boundary\nLayer flows", "boundary layer")
    assert contains("written in C++.", "c++")
    assert contains("数据库abc", "据库")
    assert not contains("layers", "layer")
    assert contains("45 mm, or 45.", "45")
    assert not contains("0.45 and 45,000", "45")
    assert not contains("anything", " ")
