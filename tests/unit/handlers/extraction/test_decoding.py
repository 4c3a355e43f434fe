"""Encodings: marks, UTF-8, declared ones, and guesses that are reported as such."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handlers.extraction.decoding import decode
from handlers.extraction.formats import Unreadable

GERMAN = "Die Größe der Türöffnung beträgt 2 m. Bitte prüfen Sie die Maße – „genau“."
CZECH = "Zpráva o stavu mostu. Příliš žluťoučký kůň úpěl ďábelské ódy, řekl starosta a odešel domů."
POLISH = "Dziękuję bardzo, wszystko będzie dobrze. Proszę o chwilę cierpliwości, zażółć gęślą jaźń."
TURKISH = "İstanbul'da hava çok güzel, akşam yağmur bekleniyor. Pijamalı hasta yağız şoföre güvendi."
RUSSIAN = "Съешь ещё этих мягких французских булок, да выпей чаю."
GREEK = "Καλημέρα, πώς είστε σήμερα; Θέλω να αγοράσω ένα εισιτήριο."
JAPANESE = "これは日本語の文章です。ポンプの弁を閉じてください。"
KOREAN = "이것은 한국어 문장입니다. 펌프의 밸브를 닫으십시오."


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "cp1252"),
        (CZECH.replace("–", "-"), "iso8859-2"),
        (CZECH, "cp1250"),
        (POLISH, "iso8859-2"),
        (POLISH, "cp1250"),
        (TURKISH, "cp1254"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (RUSSIAN, "cp866"),
        (GREEK, "cp1253"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (JAPANESE, "iso2022_jp"),
        (KOREAN, "iso2022_kr"),
        (KOREAN, "euc_kr"),
        (GERMAN, "utf-16-le"),
        (GERMAN, "utf-16-be"),
        (GERMAN, "utf-32-le"),
        (GERMAN, "utf-32-be"),
        (GERMAN, "utf-32"),
        (GERMAN, "utf-16"),
    ],
)
def test_texts_are_read_without_being_told_how(text: str, encoding: str):
    assert decode(text.encode(encoding)).text == text


def test_a_guess_is_reported_and_utf8_is_not():
    assert decode(GERMAN.encode()).metadata == ()
    assert dict(decode(CZECH.encode("cp1250")).metadata) == {"encoding": "cp1250", "encoding_guessed": "yes"}
    assert dict(decode(CZECH.encode("cp1250"), assumed="windows-1250").metadata) == {"encoding": "cp1250"}


def test_what_is_declared_comes_before_what_is_assumed():
    assert decode(RUSSIAN.encode("cp1251"), declared="windows-1251", assumed="koi8-r").text == RUSSIAN
    assert decode(RUSSIAN.encode("koi8-r"), declared="nonsense", assumed="koi8-r").text == RUSSIAN
    assert decode(RUSSIAN.encode(), declared="koi8-r", assumed="koi8-r").text == RUSSIAN


@pytest.mark.parametrize("bad", [b"\xff", b"\xc3", b"\xe2\x82", b"\xed\xa0\x80"])
def test_a_few_bad_bytes_leave_a_text_utf8(bad: bytes):
    data = CZECH.encode() + bad + b" and more: " + CZECH.encode()
    found = decode(data)
    assert found.encoding == "utf-8"
    assert found.text.startswith(CZECH)
    assert found.text.endswith(CZECH)
    assert found.damaged == found.text.count("\ufffd") > 0


@pytest.mark.parametrize(
    "data",
    [b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\x03\0>\0\x01\0\0\0", bytes(range(256)) * 4, b"\x89PNG\r\n\x1a\n\0\0\0"],
)
def test_what_is_no_text_is_refused(data: bytes):
    with pytest.raises(Unreadable, match="is binary, not text"):
        decode(data)


def test_control_characters_go_and_line_ends_are_one_kind():
    assert decode(b"a\r\nb\rc\x0bd\x07e\xc2\x85f\xc2\x93g").text == "a\nb\nc\nde\nfg"
    assert decode(b"\xef\xbb\xbfa\xef\xbb\xbfb").text == "ab"


@given(
    st.binary(max_size=200), st.sampled_from([None, "utf-8", "undefined", "utf-16", "idna", "hex", "\0", "shift_jis"])
)
def test_any_bytes_are_text_or_refused(data: bytes, declared: str | None):
    try:
        text = decode(data, declared=declared, assumed=declared).text
    except Unreadable:
        return
    assert "\0" not in text
    assert text == text.encode("utf-8", "surrogatepass").decode("utf-8")
