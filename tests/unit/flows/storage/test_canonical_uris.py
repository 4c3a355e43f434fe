"""One spelling per file: all URIs of a file identify the same document."""

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.storage import canonical_uri, path_below
from flows.storage.locations import parse_url

COMPOSED = unicodedata.normalize("NFC", "Über")


@pytest.mark.parametrize(
    ("uri", "canonical"),
    [
        ("file:///srv/a.txt", "file:///srv/a.txt"),
        ("FILE:///srv/a.txt", "file:///srv/a.txt"),
        ("file://localhost/srv/a.txt", "file:///srv/a.txt"),
        ("file:////srv//a.txt", "file:///srv/a.txt"),
        ("file:///srv/./x/../a.txt", "file:///srv/a.txt"),
        ("file:///srv/", "file:///srv"),
        ("file:///", "file:///"),
        ("file:///srv/.hidden", "file:///srv/.hidden"),
        ("file:///srv/a%20b.txt", "file:///srv/a%20b.txt"),
        ("file:///Srv/A.txt", "file:///Srv/A.txt"),
        (f"file:///{unicodedata.normalize('NFD', COMPOSED)}", f"file:///{COMPOSED}"),
        ("s3a://bucket/a", "s3://bucket/a"),
        ("S3://bucket/a/", "s3://bucket/a"),
        ("s3://bucket/a//b/../c", "s3://bucket/a//b/../c"),  # keys are no paths
        ("memory://x/a/", "memory://x/a"),
        ("gs://bucket/a", "gs://bucket/a"),
        ("s3:///", "s3:///"),
        ("readme.md", "readme.md"),
        ("", ""),
    ],
)
def test_a_uri_has_one_spelling(uri: str, canonical: str) -> None:
    assert canonical_uri(uri) == canonical


@given(
    st.sampled_from(["file:///", "file://", "s3://b/", "memory://"]),
    st.text(st.sampled_from("a/.ü\u0308%b "), max_size=12),
)
def test_the_spelling_of_a_spelling_is_the_same(start: str, rest: str) -> None:
    once = canonical_uri(start + rest)
    assert canonical_uri(once) == once


@given(st.text(st.sampled_from("ab/.%"), max_size=12))
def test_a_file_is_called_by_the_path_that_is_opened(rest: str) -> None:
    uri = f"file:///{rest}"
    assert canonical_uri(uri) == parse_url(uri).uri
    assert canonical_uri(uri).removeprefix("file://") == os.path.abspath(f"/{rest.lstrip('/')}")


@pytest.mark.parametrize(
    ("root", "uri", "path"),
    [
        ("file:///srv", "file:///srv/a/b", "a/b"),
        ("file:///srv", "file:///srv", None),
        ("file:///srv", "file:///srv-2/a", None),
        ("file:///", "file:///a", "a"),
        ("s3://b", "s3://b/a", "a"),
    ],
)
def test_what_is_below_a_root_has_a_path_there(root: str, uri: str, path: str | None) -> None:
    assert path_below(root, uri) == path
