"""Small files of office formats for tests, written by hand: archives of XML, and Microsoft's older container."""

import io
import struct
import zipfile
from collections.abc import Mapping

_SECTOR = 512
_FREE, _END, _FAT = 0xFFFFFFFF, 0xFFFFFFFE, 0xFFFFFFFD
_TEXT = "urn:oasis:names:tc:opendocument:xmlns:text:1.0"
_OFFICE = "urn:oasis:names:tc:opendocument:xmlns:office:1.0"
_TABLE = "urn:oasis:names:tc:opendocument:xmlns:table:1.0"
_DRAW = "urn:oasis:names:tc:opendocument:xmlns:drawing:1.0"
_PRESENTATION = "urn:oasis:names:tc:opendocument:xmlns:presentation:1.0"
_DC = "http://purl.org/dc/elements/1.1/"
_STYLE = 'xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0"'


def make_zip(members: Mapping[str, str | bytes]) -> bytes:
    """An archive with these members."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def make_odf(body: str, *, kind: str = "text", styles: str = "") -> bytes:
    """An OpenDocument file with this body."""
    names = (
        f'xmlns:office="{_OFFICE}" xmlns:text="{_TEXT}" xmlns:table="{_TABLE}" xmlns:draw="{_DRAW}" xmlns:dc="{_DC}"'
    )
    names += f' xmlns:presentation="{_PRESENTATION}" {_STYLE}'
    content = (
        f"<office:document-content {names}>{styles}<office:body><office:{kind}>{body}</office:{kind}></office:body>"
    )
    return make_zip(
        {
            "mimetype": f"application/vnd.oasis.opendocument.{kind}",
            "content.xml": content + "</office:document-content>",
            "meta.xml": f"<office:document-meta {names}><dc:title>A plan</dc:title></office:document-meta>",
            "styles.xml": f"<office:document-styles {names}><style:header><text:p>Letterhead</text:p></style:header>"
            "</office:document-styles>",
        }
    )


def make_epub(chapters: Mapping[str, str]) -> bytes:
    """A book of these chapters, which are bodies of XHTML."""
    items = "".join(f'<item id="{name}" href="{name}.xhtml" media-type="application/xhtml+xml"/>' for name in chapters)
    spine = "".join(f'<itemref idref="{name}"/>' for name in chapters)
    return make_zip(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": "<container xmlns='urn:oasis:names:tc:opendocument:xmlns:container'><rootfiles>"
            "<rootfile full-path='O/b.opf'/></rootfiles></container>",
            "O/b.opf": f"<package xmlns='http://www.idpf.org/2007/opf'><metadata xmlns:dc='{_DC}'>"
            "<dc:title>A book</dc:title><dc:creator>Ann</dc:creator></metadata>"
            f"<manifest>{items}</manifest><spine>{spine}</spine></package>",
            **{
                f"O/{name}.xhtml": f"<html xmlns='http://www.w3.org/1999/xhtml'><head><title>t</title></head><body>{body}</body></html>"
                for name, body in chapters.items()
            },
        }
    )


def make_ole(streams: Mapping[tuple[str, ...], bytes]) -> bytes:
    """A compound file; every stream is filled up with zeros to 4,096 bytes, since shorter ones are kept in another way."""
    nodes: list[tuple[str, int, bytes]] = [("Root Entry", 5, b"")]
    paths: dict[tuple[str, ...], int] = {(): 0}
    children: dict[int, list[int]] = {0: []}
    for path, content in streams.items():
        for depth in range(1, len(path) + 1):
            here = path[:depth]
            if here not in paths:
                paths[here] = len(nodes)
                is_stream = depth == len(path)
                nodes.append((here[-1], 2 if is_stream else 1, content.ljust(4096, b"\0") if is_stream else b""))
                children.setdefault(paths[here[:-1]], []).append(paths[here])
    sectors: list[bytes] = []
    table: list[int] = []

    def store(content: bytes) -> int:
        first = len(sectors)
        pieces = [content[at : at + _SECTOR].ljust(_SECTOR, b"\0") for at in range(0, len(content), _SECTOR)]
        sectors.extend(pieces)
        table.extend([*range(first + 1, first + len(pieces)), _END])
        return first

    entries: list[bytes] = []
    for number, (name, kind, content) in enumerate(nodes):
        inner = children.get(number, [])
        # Children are a list along their right siblings: an unbalanced tree, which readers accept.
        siblings = next((group for group in children.values() if number in group), [number])
        after = siblings[siblings.index(number) + 1 :]
        written = name.encode("utf-16-le") + b"\0\0"
        entries.append(
            written.ljust(64, b"\0")
            + struct.pack("<HBB", len(written), kind, 1)
            + struct.pack("<III", _FREE, after[0] if after else _FREE, inner[0] if inner else _FREE)
            + bytes(36)
            + struct.pack("<IQ", store(content) if content else _END, len(content))
        )
    directory = store(b"".join(entries).ljust(-(-len(entries) // 4) * _SECTOR, b"\0"))
    count = -(-(len(table) + 2) // 128) + 1
    first = len(sectors)
    table.extend([_FAT] * count)
    packed = struct.pack(f"<{len(table)}I", *table).ljust(count * _SECTOR, b"\xff")
    header = struct.pack(
        "<8s16xHHHHH6xIIIIIIIII",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        0x3E,
        3,
        0xFFFE,
        9,
        6,
        0,
        count,
        directory,
        0,
        4096,
        _END,
        0,
        _END,
        0,
    )
    listed = struct.pack("<109I", *range(first, first + count), *[_FREE] * (109 - count))
    return header + listed + b"".join(sectors) + packed
