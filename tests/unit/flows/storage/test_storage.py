import errno
import os
import subprocess
import sys
import uuid
from pathlib import Path
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.errors import ObjectExists, StorageError
from flows.storage import Storage, StorageOptions
from tests.support.storage_contract import StorageContract


@pytest.fixture
def storage() -> Storage:
    return Storage()


class TestLocalFiles(StorageContract):
    @pytest.fixture
    def root(self, tmp_path: Path) -> str:
        return tmp_path.as_uri()


class TestMemoryFiles(StorageContract):
    @pytest.fixture
    def root(self) -> str:
        return f"memory://{uuid.uuid4()}"


def test_a_path_and_its_file_url_are_one_place(tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert storage.write("d/../a.txt", b"x") == f"file://{tmp_path}/a.txt"
    assert [found.uri for found in storage.list(".")] == [f"file://{tmp_path}/a.txt"]
    assert storage.read(str(tmp_path / "a.txt")) == storage.read(f"file://{tmp_path}/a.txt")


def test_an_empty_folder_lists_nothing(tmp_path: Path, storage: Storage):
    assert list(storage.list(str(tmp_path))) == []


def test_a_failed_write_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch
):
    uri = storage.write(str(tmp_path / "a"), b"old")

    def full_disk(source: str, target: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", source)

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(StorageError, match=r"/a: no space left"):
        storage.write(uri, b"new")
    assert storage.read(uri) == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_exclusive_writing_works_without_hard_links(tmp_path: Path, storage: Storage, monkeypatch: pytest.MonkeyPatch):
    def no_links(source: str, target: str) -> None:
        raise OSError(errno.EPERM, "Operation not permitted", source)

    monkeypatch.setattr(os, "link", no_links)
    uri = storage.write(str(tmp_path / "a"), b"first", exclusive=True)
    with pytest.raises(ObjectExists, match="exists already"):
        storage.write(uri, b"second", exclusive=True)
    assert storage.read(uri) == b"first"
    assert os.listdir(tmp_path) == ["a"]


def test_written_files_get_the_usual_permissions(tmp_path: Path, storage: Storage):
    (tmp_path / "usual").write_bytes(b"")
    storage.write(str(tmp_path / "ours"), b"")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_links_that_lead_out_or_nowhere_are_left_out_and_said(
    tmp_path: Path, storage: Storage, caplog: pytest.LogCaptureFixture
):
    (tmp_path / "secret").write_text("x")
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("x")
    for name, target in {
        "inside": "a",
        "outside": "../secret",
        "up": "..",
        "broken": "nothing",
        "loop": "loop",
    }.items():
        (folder / name).symlink_to(target)
    assert [found.name for found in storage.list(str(folder))] == ["a", "inside"]
    assert sorted(Path(record.getMessage().split(":")[0]).name for record in caplog.records) == [
        "broken",
        "loop",
        "outside",
        "up",
    ]


@pytest.mark.skipif(sys.platform == "darwin", reason="macOS allows only UTF-8 names")
def test_a_name_that_is_not_text_is_left_out_and_said(
    tmp_path: Path, storage: Storage, caplog: pytest.LogCaptureFixture
):
    Path(os.fsdecode(bytes(tmp_path) + b"/b\xff")).write_text("x")
    assert list(storage.list(str(tmp_path))) == []
    assert "not UTF-8" in caplog.text


def test_a_special_file_is_left_out(tmp_path: Path, storage: Storage):
    os.mkfifo(tmp_path / "pipe")
    assert list(storage.list(str(tmp_path))) == []


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda storage, root: storage.read(f"{root}/folder"), "folder: is a folder, not a file"),
        (lambda storage, root: storage.write(f"{root}/file/below", b""), "is a file, not a folder"),
        (lambda storage, root: storage.write(f"{root}/folder", b""), "is a folder, not a file"),
        (lambda storage, root: storage.write(f"{root}/new/", b""), "names a folder"),
        (lambda storage, root: storage.write(f"{root}/{'n' * 300}", b""), "[Nn]ame too long"),
        (lambda storage, root: list(storage.list(f"{root}/file/")), "is a file, not a folder"),
        (lambda storage, root: list(storage.list(root, pattern="a**b")), r"pattern 'a\*\*b' cannot be used"),
        (lambda storage, root: storage.delete("/", recursive=True), "never deleted"),
        (lambda storage, root: storage.delete("s3://bucket", recursive=True), "never deleted"),
        (lambda storage, root: storage.delete("memory://x", recursive=True), "never deleted"),
        (lambda storage, root: storage.read("gopher://host/a"), "no storage for 'gopher'; use a path"),
        (lambda storage, root: storage.read("s3:///a"), "names no bucket"),
        (lambda storage, root: storage.read(""), "is not a path or URL"),
        (lambda storage, root: storage.read("a\0b"), "is not a path or URL"),
    ],
)
def test_mistakes_are_explained(tmp_path: Path, storage: Storage, use, message: str):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=message):
        use(storage, str(tmp_path))


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, storage: Storage):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0)
    me = os.geteuid()
    if me == 0:  # root may read everything, so be somebody else for a moment
        os.seteuid(65534)
    try:
        with pytest.raises(StorageError, match="permission denied"):
            list(storage.list(str(closed if me == 0 else tmp_path)))
    finally:
        os.seteuid(me)


def test_secrets_are_not_shown():
    options = StorageOptions("http://localhost:1", "key", "TOPSECRET")
    assert "TOPSECRET" not in f"{options} {options!r} {Storage(options)!r}"
    with pytest.raises(StorageError, match="BRAID_S3_SECRET") as raised:
        Storage().read("s3://key:TOPSECRET@bucket/a")
    assert "TOPSECRET" not in str(raised.value)


@pytest.mark.parametrize("part", ["..", "a/../b", "/etc/passwd", "a\0b", "", "../x"])
def test_a_joined_name_cannot_leave_its_root(part: str):
    with pytest.raises(StorageError, match="does not name anything below it"):
        Storage.join("memory://root", "a", part)


@pytest.mark.parametrize(
    ("root", "parts", "uri"),
    [
        ("s3://bucket/p/", ("d/e", "ключ 1.txt"), "s3://bucket/p/d/e/ключ 1.txt"),
        ("s3://bucket", ("a",), "s3://bucket/a"),
        ("memory://", ("a",), "memory://a"),
        ("/", ("a",), "file:///a"),
        ("/x/../y", (), "file:///y"),
        ("memory://r", ("a:b", ".c", "d.", "e%", "./f"), "memory://r/a%3Ab/%2Ec/d%2E/e%25/%2E/f"),
    ],
)
def test_joined_names_are_encoded_where_needed(root: str, parts: tuple[str, ...], uri: str):
    assert Storage.join(root, *parts) == uri


_NAMES = st.text(st.sampled_from("aB./%:*?~\\ é\n\ud800\U0001f600"), min_size=1, max_size=12).filter(
    lambda name: not name.startswith("/") and ".." not in name.split("/")
)


@given(_NAMES)
def test_a_joined_name_can_be_read_back(name: str):
    encoded = Storage.join("memory://r", name).removeprefix("memory://r/")
    segments = ["" if each == "%" else unquote(each, errors="surrogatepass") for each in encoded.split("/")]
    assert "/".join(segments) == name
    assert all(segment and segment not in (".", "..") for segment in encoded.split("/"))


def test_importing_storage_does_not_import_what_it_may_never_need():
    loaded = (
        "import flows.storage.storage, sys; print(sorted({'fsspec', 's3fs', 'botocore', 'aiohttp'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
