"""MSG, Outlook's mails: read like other mails, from Outlook's own container.

Source: [MS-OXMSG], sections 2.1 to 2.4; [MS-OXRTFCP] for bodies in compressed RTF.
"""

from __future__ import annotations

import datetime
import struct
from typing import TYPE_CHECKING

from handlers.extraction.assembly import Assembly
from handlers.extraction.decoding import decode
from handlers.extraction.formats import Attachment, Extracted, RawFile
from handlers.extraction.readers.html import decode_page
from handlers.extraction.readers.mail import write_body, write_headers
from handlers.extraction.readers.ole import open_ole, stream
from handlers.extraction.readers.rtf import read_rtf

if TYPE_CHECKING:
    import olefile

_SUBJECT, _SENDER, _SENDER_ADDRESS, _TO, _CC = 0x0037, 0x0C1A, 0x5D01, 0x0E04, 0x0E03
_BODY, _HTML, _RTF = 0x1000, 0x1013, 0x1009
_FILE_NAME, _LONG_FILE_NAME, _DISPLAY_NAME, _DATA = 0x3704, 0x3707, 0x3001, 0x3701
_SENT, _DELIVERED = 0x0039, 0x0E06
_DEEPEST = 5
_PRIMER = (
    b"{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript "
    b"\\fdecor MS Sans SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par "
    b"\\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx"
)


def read_msg(file: RawFile) -> Extracted:
    """One message; attached mails follow in its text, other attachments are separate documents."""
    with open_ole(file.data, "MSG") as container:
        assembly = Assembly()
        attachments: list[Attachment] = []
        headers = _write(container, [], assembly, attachments, file)
    metadata = [("authors", headers["From"]), ("created_at", headers["Date"])]
    return Extracted(
        assembly.text,
        assembly.blocks,
        headers["Subject"],
        tuple((key, value) for key, value in metadata if value),
        tuple(attachments),
    )


def _write(
    container: olefile.OleFileIO, place: list[str], assembly: Assembly, attachments: list[Attachment], file: RawFile
) -> dict[str, str]:
    sender, address = _string(container, place, _SENDER), _string(container, place, _SENDER_ADDRESS)
    headers = {
        "Subject": _string(container, place, _SUBJECT),
        "From": f"{sender} <{address}>" if address and address != sender else sender,
        "To": _string(container, place, _TO),
        "Cc": _string(container, place, _CC),
        "Date": _date(container, place),
    }
    level = 1 + len(place) // 2
    write_headers(headers, assembly, level)
    html = _bytes(container, place, _HTML)
    rtf = b"" if html else _decompressed(_bytes(container, place, _RTF))
    plain = _string(container, place, _BODY)
    if not plain and rtf:
        found = read_rtf(RawFile(rtf, cpu_s=file.cpu_s, started=file.started))
        assembly.append(found.text, found.blocks)
    else:
        write_body(plain, decode_page(html).text if html else "", assembly, file, below=level)
    names: list[str] = []
    for folder in _attachments(container, place):
        inner = [*place, folder, "__substg1.0_3701000D"]
        name = _string(container, [*place, folder], _LONG_FILE_NAME) or _string(container, [*place, folder], _FILE_NAME)
        if container.exists([*inner, "__properties_version1.0"]) and len(inner) // 2 <= _DEEPEST:
            _write(container, inner, assembly, attachments, file)
        elif data := _bytes(container, [*place, folder], _DATA):
            name = name or _string(container, [*place, folder], _DISPLAY_NAME) or f"attachment {len(names) + 1}"
            names.append(name.replace("/", "_").replace("\\", "_"))
            attachments.append(Attachment(names[-1], data))
    if names:
        assembly.add("list", "Attachments:\n" + "\n".join(f"- {name}" for name in names))
    return headers


def _attachments(container: olefile.OleFileIO, place: list[str]) -> list[str]:
    depth = len(place)
    found = {
        entry[depth]
        for entry in container.listdir(streams=True, storages=True)
        if len(entry) > depth and entry[:depth] == place and entry[depth].startswith("__attach_version1.0_#")
    }
    return sorted(found)


def _bytes(container: olefile.OleFileIO, place: list[str], key: int) -> bytes:
    return stream(container, [*place, f"__substg1.0_{key:04X}0102"])


def _string(container: olefile.OleFileIO, place: list[str], key: int) -> str:
    wide = stream(container, [*place, f"__substg1.0_{key:04X}001F"])
    if wide:
        return wide.decode("utf-16-le", "replace").replace("\0", "").replace("\r\n", "\n").strip()
    narrow = stream(container, [*place, f"__substg1.0_{key:04X}001E"]).replace(b"\0", b"")
    return decode(narrow).text.strip() if narrow.strip() else ""


def _date(container: olefile.OleFileIO, place: list[str]) -> str:
    data = stream(container, [*place, "__properties_version1.0"])
    # In a message inside a message, the header of properties is shorter.
    for at in range(24 if place else 32, len(data) - 15, 16):
        tag, value = struct.unpack_from("<IxxxxQ", data, at)
        if tag in (_SENT << 16 | 0x40, _DELIVERED << 16 | 0x40) and 0 < value < 1 << 62:
            try:
                moment = datetime.datetime(1601, 1, 1) + datetime.timedelta(microseconds=value // 10)
            except OverflowError:
                continue
            return moment.isoformat(timespec="seconds") + "Z"
    return ""


def _decompressed(data: bytes) -> bytes:
    """Decompress RTF as Outlook stores it: copies from a window of 4,096 bytes."""
    if len(data) < 16:
        return b""
    size, raw_size, kind = struct.unpack_from("<III", data)
    if kind == 0x414C454D:  # not compressed
        return data[16 : 16 + raw_size]
    window = bytearray(_PRIMER.ljust(4096, b"\0"))
    write, at, end = len(_PRIMER), 16, min(len(data), size + 4)
    found = bytearray()
    while at < end:
        control = data[at]
        at += 1
        for bit in range(8):
            if at + (control >> bit & 1) >= end:
                return bytes(found)
            if control >> bit & 1:
                reference = data[at] << 8 | data[at + 1]
                at += 2
                offset, length = reference >> 4, (reference & 0x0F) + 2
                if offset == write:
                    return bytes(found)
                for step in range(length):
                    found.append(window[(offset + step) % 4096])
                    window[write] = found[-1]
                    write = (write + 1) % 4096
            else:
                found.append(data[at])
                window[write] = data[at]
                write = (write + 1) % 4096
                at += 1
    return bytes(found)
