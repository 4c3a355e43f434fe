"""Any broken file ends with a text or a reason, and the other files are processed."""

import random
from collections.abc import Callable

import pytest

from handlers.extraction import Unreadable, extract_text, to_document
from handlers.extraction.readers.json_data import read_json
from handlers.records import SourceFile
from handlers.sources import list_sources
from tests.support.document_bombs import BOMBS
from tests.support.documents import make_call, make_docx, make_pdf, make_pptx
from tests.unit.handlers.extraction.test_formats import CASES

SAMPLES: dict[str, bytes] = {
    **{name: data for name, data, _ in CASES},
    "a.docx": make_docx(),
    "a.pptx": make_pptx(),
    "a.pdf": make_pdf(["Hello", "world"]),
    "a.html": b"<meta charset=utf-8><h1>A</h1><table><tr><td>b<td>c</table><ul><li>d",
    "a.md": b"---\na: 1\n---\n# A\n<div>b</div>\n\n| a |\n|---|\n",
    "a.csv": b'a;b\n1;"2\n3"\n',
    "a.json": b'{"a": [1, {"b": "c\\n"}]}',
    "a.jsonl": b'{"a": 1}\n{"a": 2}\n',
    "a.txt": b"A\n=\n\nwords\n",
}


def cut(data: bytes, dice: random.Random) -> bytes:
    return data[: dice.randrange(1, len(data))]


def flipped(data: bytes, dice: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(1 + len(data) // 200):
        changed[dice.randrange(len(data))] = dice.randrange(256)
    return bytes(changed)


def doubled(data: bytes, dice: random.Random) -> bytes:
    at = dice.randrange(len(data))
    return data[:at] + data[max(0, at - 50) :]


@pytest.mark.parametrize("poison", [cut, flipped, doubled])
@pytest.mark.parametrize("name", SAMPLES)
def test_a_damaged_file_is_read_or_has_a_reason(name: str, poison: Callable[[bytes, random.Random], bytes]):
    dice = random.Random(f"{name} {poison.__name__}")
    for _ in range(25):
        data = poison(SAMPLES[name], dice)
        try:
            document = to_document(SourceFile(name, name, len(data)), data)
        except Unreadable:
            continue
        end = 0
        for block in document.blocks:
            assert end <= block.start < block.end <= len(document.text)
            end = block.end
        assert not any("\ud800" <= character <= "\udfff" for character in document.text)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("surrogate.json", b'{"text": "smile \\ud83d cut off"}', "smile \ufffd cut off"),
        ("digits.json", b'{"n": ' + b"1" * 5000 + b"}", "1" * 5000),
        ("charset.html", b'<meta charset="undefined"><p>K\xf6ln am Rhein, Stra\xdfe', "Köln am Rhein, Straße"),
        ("escape.txt", b"a\x1b$B", "a"),
    ],
)
def test_what_once_stopped_a_batch_is_text(name: str, data: bytes, words: str):
    assert words in to_document(SourceFile(name, name, len(data)), data).text


def test_an_error_that_nobody_expected_is_one_document_s(monkeypatch: pytest.MonkeyPatch):
    from handlers.extraction import registry

    def failing(file: object) -> None:
        raise KeyError("unexpected")

    monkeypatch.setitem(registry._BY_MIME_TYPE, "text/csv", registry.Format("CSV", "text/csv", (".csv",), failing))  # type: ignore[arg-type]
    call, root = make_call({"a.txt": b"a", "b.csv": b"b", "c.txt": b"c"})
    documents = extract_text(list_sources(root, call=call), call=call)["documents"]
    assert [document.name for document in documents] == ["a.txt", "c.txt"]
    assert [failure.item for failure in call.failures] == ["b.csv"]
    assert "does not expect (KeyError)" in call.failures[0].error


def test_a_deep_file_is_a_reason():
    for name, data in {
        "a.json": b"[" * 100_000,
        "a.xml": b"<a>" * 5000 + b"x" + b"</a>" * 5000,
        "a.rtf": b"{\\rtf1 " + b"{" * 9000,
    }.items():
        with pytest.raises(Unreadable, match="nested too deeply|no valid"):
            to_document(SourceFile(name, name, len(data)), data)


def test_time_is_limited():
    data = b"<p>x</p>" * 50_000
    with pytest.raises(Unreadable, match="s of CPU time to read"):
        to_document(SourceFile("a.html", "a.html", len(data)), data, cpu_s=0)


def test_numbers_and_keys_of_json_stay_as_written():
    assert read_json('{"a":1.10,"a":1e400,"b":"x\\ny\\u00e9\\"q\\\\n"}').text == (
        '{\n  "a": 1.10,\n  "a": 1e400,\n  "b": "x\nyé\\"q\\\\n"\n}'
    )


def test_samples_are_all_read():
    for name, data in SAMPLES.items():
        assert to_document(SourceFile(name, name, len(data)), data).text


def test_a_small_file_does_not_unpack_to_any_text():
    data = BOMBS["one word.docx"](0.1)
    assert len(data) < 100_000
    with pytest.raises(
        Unreadable, match=r"unpacks to 15,\d\d\d,\d\d\d characters, more than the .* like a decompression bomb"
    ):
        to_document(SourceFile("a.docx", "a.docx", len(data)), data)
