import logging

import pytest

from flows.errors import FatalError
from handlers.sources import HIDDEN, list_sources
from tests.support.documents import make_call

FILES = {
    "b.md": b"# B",
    "a/z.txt": b"z",
    "a/LICENSE.txt": b"l",
    "LICENSES/MIT.txt": b"m",
    "photo.jpg": b"j",
    "Makefile": b"",
    "a/~$draft.docx": b"lock",
    "REPORT.PDF": b"%PDF-",
}


def names(source_options: dict, **files: bytes) -> list[str]:
    call, root = make_call(FILES | files)
    return [found.name for found in list_sources(root, call=call, **source_options)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["LICENSES/MIT.txt", "REPORT.PDF", "a/LICENSE.txt", "a/z.txt", "b.md"]),
        ({"exclude": (*HIDDEN, "LICENSES/**", "**/LICENSE*")}, ["REPORT.PDF", "a/z.txt", "b.md"]),
        ({"pattern": "a/*"}, ["a/LICENSE.txt", "a/z.txt"]),
        ({"limit": 2}, ["LICENSES/MIT.txt", "REPORT.PDF"]),
    ],
)
def test_files_of_known_formats_are_listed_by_name(options, expected):
    assert names(options) == expected


def test_one_file_is_a_source():
    call, root = make_call(FILES)
    (found,) = list_sources(f"{root}/b.md", call=call)
    assert (found.name, found.size, found.uri) == ("b.md", 3, f"{root}/b.md")


def test_ignored_formats_are_counted_in_the_log(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        names({})
    assert "5 files to ingest; left out: 2 format, 1 hidden (formats: 1 × .jpg, 1 × no suffix)" in caplog.text


@pytest.mark.parametrize(
    ("files", "options", "message"),
    [
        ({"x.jpg": b"j"}, {}, r"none of its 1 files has a format that can be ingested: PDF, DOCX"),
        ({"x.md": b"m"}, {"pattern": "*.pdf"}, r"no file matches '\*\.pdf'"),
        ({".hidden": b"m"}, {}, "holds no file"),
    ],
)
def test_nothing_to_ingest_is_an_error_with_the_cure(files, options, message):
    call, root = make_call(files)
    with pytest.raises(FatalError, match=message):
        list_sources(root, call=call, **options)


def test_a_pattern_that_cannot_be_used_is_named():
    call, root = make_call(FILES)
    with pytest.raises(FatalError, match="the pattern .* cannot be used"):
        list_sources(root, exclude=["**a"], call=call)
