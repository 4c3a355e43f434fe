"""Archives and mails: members have unique names and are read within limits."""

import io
import zipfile
from pathlib import Path

import pytest

from handlers.extraction import Unreadable, fetch_source, list_members, parent_of, split_member
from handlers.extraction.readers.archive import ArchiveLimits, archived
from tests.support.archives import COMPRESSED, make_mail, make_tar, make_zip
from tests.support.documents import make_call

FILES = {"b.txt": b"words of b", "folder/a.md": b"# words of a", "big.bin": b"\0" * 10}


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.zip", make_zip(FILES)),
        ("A.ZIP", make_zip(FILES)),
        ("a.tar", make_tar(FILES)),
        ("a.tar.gz", make_tar(FILES, "w:gz")),
        ("a.tgz", make_tar(FILES, "w:gz")),
        ("a.tar.bz2", make_tar(FILES, "w:bz2")),
        ("a.txz", make_tar(FILES, "w:xz")),
    ],
)
def test_the_files_in_an_archive_are_listed_and_read(name: str, data: bytes):
    call, root = make_call({name: data})
    found = list_members(f"{root}/{name}", call)
    assert [(member.name, member.size) for member in found] == [("b.txt", 10), ("big.bin", 10), ("folder/a.md", 12)]
    assert len({member.mark for member in found}) == 3
    assert fetch_source(f"{root}/{name}!/folder/a.md", call).data == b"# words of a"
    assert fetch_source(f"{root}/{name}!/b.txt", call, max_bytes=10).data == b"words of b"


@pytest.mark.parametrize("suffix", COMPRESSED)
def test_a_compressed_file_holds_one(suffix: str):
    call, root = make_call({f"report.txt{suffix}": COMPRESSED[suffix](b"words")})
    uri = f"{root}/report.txt{suffix}"
    assert [member.name for member in list_members(uri, call)] == ["report.txt"]
    assert fetch_source(f"{uri}!/report.txt", call).data == b"words"


def test_containers_lie_in_each_other():
    mail = make_mail("Hello", {"offer.txt": b"the offer", "more.zip": make_zip({"deep.txt": b"deep words"})})
    call, root = make_call({"a.zip": make_zip({"mails/m.eml": mail})})
    assert [member.name for member in list_members(f"{root}/a.zip!/mails/m.eml", call)] == ["more.zip", "offer.txt"]
    assert fetch_source(f"{root}/a.zip!/mails/m.eml!/offer.txt", call).data == b"the offer"
    assert fetch_source(f"{root}/a.zip!/mails/m.eml!/more.zip!/deep.txt", call).data == b"deep words"


def test_a_changed_archive_is_opened_anew(tmp_path: Path):
    call, _ = make_call()
    path = tmp_path / "a.zip"
    path.write_bytes(make_zip({"a.txt": b"old"}))
    assert fetch_source(f"file://{path}!/a.txt", call).data == b"old"
    path.write_bytes(make_zip({"a.txt": b"new words"}))
    assert fetch_source(f"file://{path}!/a.txt", call).data == b"new words"


def test_uris_are_split_at_containers_only():
    assert split_member("file:///x/wow!/a.txt") == ("file:///x/wow!/a.txt", ())
    assert split_member("s3://b/a.zip!/wow!/c.txt") == ("s3://b/a.zip", ("wow!/c.txt",))
    assert split_member("a.zip!/m.eml!/c.pdf") == ("a.zip", ("m.eml", "c.pdf"))
    assert parent_of("a.zip!/m.eml!/c.pdf") == "a.zip!/m.eml"
    assert parent_of("folder/a.zip") is None


def test_names_never_lead_out_and_never_collide():
    files = {"../../etc/a.txt": b"1", "/etc/a.txt": b"2", "etc\\a.txt": b"3", "x.zip!/b.txt": b"4"}
    call, root = make_call({"a.zip": make_zip(files)})
    names = [member.name for member in list_members(f"{root}/a.zip", call)]
    assert names == ["etc/a (2).txt", "etc/a (3).txt", "etc/a.txt", "x.zip%21/b.txt"]
    contents = {fetch_source(f"{root}/a.zip!/{name}", call).data for name in names}
    assert contents == {b"1", b"2", b"3", b"4"}


def test_a_bomb_is_set_aside(tmp_path: Path):
    bomb = tmp_path / "bomb.zip"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(3):
            archive.writestr(f"{number}.txt", b"\0" * 40_000_000)
    with pytest.raises(Unreadable, match="like a decompression bomb"):
        list(archived(str(bomb), "bomb.zip"))
    many = tmp_path / "many.zip"
    many.write_bytes(make_zip({f"{n}.txt": b"" for n in range(11)}))
    with pytest.raises(Unreadable, match="more than the 10 files"):
        list(archived(str(many), "many.zip", ArchiveLimits(members=10)))
    packed = tmp_path / "bomb.txt.gz"
    packed.write_bytes(COMPRESSED[".gz"](b"\0" * 80_000_000))
    with pytest.raises(Unreadable, match="like a decompression bomb"):
        list(archived(str(packed), "bomb.txt.gz"))


def test_a_broken_archive_has_a_reason_and_a_broken_member_costs_no_other():
    data = make_zip({"a.txt": b"words " * 50, "b.txt": b"more"})
    at = data.index(b"a.txt") + len("a.txt") + 2
    damaged = bytearray(data)
    damaged[at] ^= 0xFF
    call, root = make_call(
        {"cut.zip": data[:40], "cut.tar.gz": make_tar(FILES, "w:gz")[:60], "bad.zip": bytes(damaged)}
    )
    for name in ("cut.zip", "cut.tar.gz"):
        with pytest.raises(Unreadable, match="is damaged"):
            list_members(f"{root}/{name}", call)
    with pytest.raises(Unreadable, match="damaged inside its archive"):
        fetch_source(f"{root}/bad.zip!/a.txt", call)
    assert fetch_source(f"{root}/bad.zip!/b.txt", call).data == b"more"


def test_an_encrypted_member_has_a_reason():
    buffer = io.BytesIO(make_zip({"a.txt": b"words"}))
    data = bytearray(buffer.getvalue())
    data[6] |= 1  # the flag in the local header
    data[data.index(b"PK\x01\x02") + 8] |= 1
    call, root = make_call({"a.zip": bytes(data)})
    assert [member.name for member in list_members(f"{root}/a.zip", call)] == ["a.txt"]
    with pytest.raises(Unreadable, match="needs a password"):
        fetch_source(f"{root}/a.zip!/a.txt", call)
