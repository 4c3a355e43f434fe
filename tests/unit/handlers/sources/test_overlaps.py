"""Sources inside each other: which of them hold a document, and where its name begins."""

import pytest

from handlers.sources import Coverage, Roots
from handlers.stores import SourceRecord

DOCS = SourceRecord("file:///srv/docs")
PDFS = SourceRecord("file:///srv/docs", "**/*.pdf")
DRAFTS = SourceRecord("file:///srv/docs/drafts", exclude=("**/*.tmp",))
NOTE = SourceRecord("file:///srv/docs/drafts/note.txt", is_folder=False)
BUCKET = SourceRecord("s3://bucket")
DISK = SourceRecord("file:///")


@pytest.mark.parametrize(
    ("uri", "holding"),
    [
        ("file:///srv/docs/a.txt", [DOCS]),
        ("file:///srv/docs/a.pdf", [DOCS, PDFS]),
        ("file:///srv/docs/drafts/note.txt", [DOCS, DRAFTS, NOTE]),
        ("file:///srv/docs/drafts/a.tmp", [DOCS]),
        ("file:///srv/docs-2/a.txt", []),
        ("s3://bucket/a/b.txt", [BUCKET]),
        ("s3://bucket-2/a.txt", []),
    ],
)
def test_the_outermost_source_comes_first(uri: str, holding: list[SourceRecord]) -> None:
    assert Coverage([NOTE, BUCKET, PDFS, DRAFTS, DOCS]).holding(uri) == holding


def test_the_whole_disk_is_a_source_too() -> None:
    coverage = Coverage([DISK, DOCS])
    assert coverage.holding("file:///srv/docs/a.txt") == [DISK, DOCS]
    assert coverage.outermost_folder("file:///srv/docs/drafts") == "file:///"
    assert Roots([DISK, DOCS]).parts("file:///srv/docs/a.txt") is not None


@pytest.mark.parametrize(
    ("uri", "inner"),
    [
        ("file:///srv/docs/drafts/a.txt", True),
        ("file:///srv/docs/drafts/a.tmp", False),  # DRAFTS leaves it out
        ("file:///srv/docs/a.pdf", False),  # of two sources in one folder, neither is inside the other
    ],
)
def test_a_document_belongs_to_the_inner_source(uri: str, inner: bool) -> None:
    assert Coverage([DOCS, PDFS, DRAFTS, NOTE]).is_inner(DOCS.uri, uri) is inner


@pytest.mark.parametrize(
    ("records", "uri", "path", "longer"),
    [
        ([DOCS], "file:///srv/docs/drafts/a.txt", "drafts/a.txt", "docs/drafts/a.txt"),
        ([DOCS, DRAFTS], "file:///srv/docs/drafts/a.txt", "drafts/a.txt", "docs/drafts/a.txt"),
        ([DRAFTS], "file:///srv/docs/drafts/a.txt", "a.txt", "drafts/a.txt"),
        ([NOTE], NOTE.uri, "note.txt", "drafts/note.txt"),
        ([NOTE, DOCS], NOTE.uri, "drafts/note.txt", "docs/drafts/note.txt"),
        ([BUCKET], "s3://bucket/a/b.txt", "a/b.txt", "bucket/a/b.txt"),
        ([DISK], "file:///srv/a.txt", "srv/a.txt", "file:///srv/a.txt"),
        ([DOCS, SourceRecord("file:///old/docs")], "file:///old/docs/a", "a", "old/docs/a"),
        ([SourceRecord("file:///docs"), SourceRecord("s3://docs")], "s3://docs/a", "a", "s3://docs/a"),
    ],
)
def test_names_begin_at_the_outermost_source(records: list[SourceRecord], uri: str, path: str, longer: str) -> None:
    parts = Roots(records).parts(uri)
    assert parts is not None
    assert (parts.path, parts.longer) == (path, longer)


def test_a_document_of_no_source_has_no_parts() -> None:
    assert Roots([DOCS, NOTE, BUCKET]).parts("file:///elsewhere/a.txt") is None
    assert Roots([NOTE]).parts("file:///srv/docs/drafts/other.txt") is None
