"""The contract of every kind of storage; one test class per kind derives from this and provides `storage` and `root`."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from flows.errors import MissingObject, ObjectExists, StorageError
from flows.storage import Storage


class StorageContract:
    in_name_order = True

    def test_what_is_written_is_read_back(self, storage: Storage, root: str) -> None:
        uri = storage.write(f"{root}/new/folder/data.bin", b"\0\1\2")
        assert uri == f"{root}/new/folder/data.bin"
        assert storage.read(uri) == b"\0\1\2"
        assert storage.read(storage.write(f"{root}/empty", b"")) == b""

    def test_writing_again_replaces(self, storage: Storage, root: str) -> None:
        storage.write(f"{root}/a.txt", b"a longer first version")
        uri = storage.write(f"{root}/a.txt", b"second")
        assert storage.read(uri) == b"second"
        assert [found.size for found in storage.list(root)] == [6]

    def test_listing_is_in_one_order_relative_and_without_hidden_files(self, storage: Storage, root: str) -> None:
        shown = ["a-b.txt", "a.txt", "a/b.txt", "a/b/c.txt", "ü/ключ 1.txt"]
        for name in [*reversed(shown), ".hidden", ".git/config", "a/.cache/x", "a/b/.y"]:
            storage.write(f"{root}/{name}", name.encode())
        found = list(storage.list(root))
        assert [each.name for each in storage.list(root)] == [each.name for each in found]
        if not self.in_name_order:
            found.sort(key=lambda each: each.name)
        assert [each.name for each in found] == shown
        assert [each.uri for each in found] == [f"{root}/{name}" for name in shown]
        assert [storage.read(each.uri).decode() for each in found] == shown
        assert [each.size for each in found] == [len(name.encode()) for name in shown]
        assert all(each.modified is not None and each.modified > 1e9 for each in found)
        assert [each.name for each in storage.list(f"{root}/a/", pattern="*")] == ["b.txt"]

    @pytest.mark.parametrize(
        ("pattern", "names"),
        [
            ("**/*.pdf", ["a.pdf", "d/b.pdf", "d/e/c.pdf"]),
            ("*.pdf", ["a.pdf"]),
            ("d/*", ["d/b.pdf", "d/x.txt"]),
            ("d/**", ["d/b.pdf", "d/e/c.pdf", "d/x.txt"]),
            ("*.md", []),
        ],
    )
    def test_a_pattern_selects_names(self, storage: Storage, root: str, pattern: str, names: list[str]) -> None:
        for name in ["a.pdf", "d/b.pdf", "d/e/c.pdf", "d/x.txt"]:
            storage.write(f"{root}/{name}", b"x")
        assert sorted(found.name for found in storage.list(root, pattern=pattern)) == names

    def test_one_file_is_listed_under_its_own_name(self, storage: Storage, root: str) -> None:
        uri = storage.write(f"{root}/d/one.txt", b"1234")
        [found] = storage.list(uri, pattern="*.pdf")
        assert (found.uri, found.name, found.size) == (uri, "one.txt", 4)

    def test_listings_are_fresh(self, storage: Storage, root: str) -> None:
        storage.write(f"{root}/a", b"1")
        assert [found.name for found in storage.list(root)] == ["a"]
        Storage(storage.options).write(f"{root}/b", b"2")
        assert [found.name for found in storage.list(root)] == ["a", "b"]
        Storage(storage.options).delete(f"{root}/a")
        assert [found.name for found in storage.list(root)] == ["b"]

    def test_exclusive_writing_refuses_to_replace(self, storage: Storage, root: str) -> None:
        uri = storage.write(f"{root}/lock", b"first", exclusive=True)
        with pytest.raises(FileExistsError, match=r"lock.*exists already") as raised:
            storage.write(uri, b"second", exclusive=True)
        assert isinstance(raised.value, ObjectExists)
        assert storage.read(uri) == b"first"

    def test_one_of_many_exclusive_writers_wins(self, storage: Storage, root: str) -> None:
        start = Barrier(8)

        def claim(number: int) -> int | None:
            start.wait()
            try:
                storage.write(f"{root}/claim", str(number).encode(), exclusive=True)
            except ObjectExists:
                return None
            return number

        with ThreadPoolExecutor(8) as threads:
            winners = [number for number in threads.map(claim, range(8)) if number is not None]
        assert [storage.read(f"{root}/claim")] == [str(number).encode() for number in winners]

    def test_it_works_from_several_threads(self, storage: Storage, root: str) -> None:
        def write_and_read(number: int) -> bytes:
            uri = storage.write(f"{root}/{number:02}", b"x" * number)
            with storage.open(uri) as stream:
                return stream.read()

        with ThreadPoolExecutor(8) as threads:
            assert [len(data) for data in threads.map(write_and_read, range(40))] == list(range(40))
        assert [found.size for found in storage.list(root)] == list(range(40))

    def test_reading_refuses_more_than_allowed(self, storage: Storage, root: str) -> None:
        uri = storage.write(f"{root}/a", b"12345")
        assert storage.read(uri, max_bytes=5) == b"12345"
        assert storage.read(storage.write(f"{root}/empty", b""), max_bytes=5) == b""
        with pytest.raises(StorageError, match="longer than the 4 bytes"):
            storage.read(uri, max_bytes=4)

    def test_streams_are_seekable_and_independent(self, storage: Storage, root: str) -> None:
        uri = storage.write(f"{root}/a", b"0123456789")
        with storage.open(uri) as first, storage.open(uri) as second:
            assert first.read(4) == b"0123"
            assert second.read(2) == b"01"
            first.seek(8)
            assert (first.read(), second.read()) == (b"89", b"23456789")

    def test_what_is_missing_is_named(self, storage: Storage, root: str) -> None:
        for use in (storage.read, storage.open, lambda uri: list(storage.list(uri))):
            with pytest.raises(FileNotFoundError, match="nowhere/a") as raised:
                use(f"{root}/nowhere/a.txt")
            assert isinstance(raised.value, MissingObject)

    def test_exists_knows_files_and_folders(self, storage: Storage, root: str) -> None:
        storage.write(f"{root}/d/a", b"x")
        assert [storage.exists(f"{root}/{name}") for name in ("d/a", "d", "d/b", "e")] == [True, True, False, False]

    def test_deleting_leaves_the_rest_and_may_be_repeated(self, storage: Storage, root: str) -> None:
        for name in ("d/a", "d/.b", "d/*", "d/e/f", "dd"):
            storage.write(f"{root}/{name}", b"x")
        with pytest.raises(StorageError, match="is a folder"):
            storage.delete(f"{root}/d")
        storage.delete(f"{root}/d/*")
        assert [found.name for found in storage.list(f"{root}/d")] == ["a", "e/f"]
        for _ in range(2):
            storage.delete(f"{root}/d", recursive=True)
            storage.delete(f"{root}/gone")
        assert not storage.exists(f"{root}/d")
        assert [found.name for found in storage.list(root)] == ["dd"]

    def test_it_goes_through_pickle(self, storage: Storage, root: str) -> None:
        uri = storage.write(f"{root}/a", b"x")
        assert pickle.loads(pickle.dumps(storage)).read(uri) == b"x"

    def test_a_joined_name_is_stored_and_listed(self, storage: Storage, root: str) -> None:
        names = ["a.txt", "atxt", "a%2Etxt", "a?b", "a*b", "a b", ".a", "ü", "a//b", "d/e", "d:e"]
        for name in names:
            storage.write(storage.join(root, name), name.encode(), exclusive=True)
        assert sorted(storage.read(found.uri).decode() for found in storage.list(root)) == sorted(names)
