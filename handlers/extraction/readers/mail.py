"""Mails and mailboxes: subject, people, date and body; attachments are separate documents."""

import contextlib
import email.message
import email.policy
import re
from collections.abc import Iterator
from email.message import EmailMessage
from email.parser import BytesParser
from email.utils import parsedate_to_datetime

from handlers.extraction.assembly import Assembly
from handlers.extraction.decoding import decode
from handlers.extraction.formats import Attachment, Extracted, RawFile, Unreadable
from handlers.extraction.readers.html import decode_page, parse_page, write_page
from handlers.extraction.readers.plain import read_text

HEADERS = ("From", "To", "Cc", "Date")
_FROM_LINE = re.compile(rb"^From \S+.*\d{4}.*\r?$", re.MULTILINE)
_MOST_PARTS = 1_000
_LONGEST_HEADER = 20_000


def read_mail(file: RawFile) -> Extracted:
    """One message; the longer of its plain and its HTML body.

    Raises:
        Unreadable: it has no mail header.
    """
    # Some programs store mails in UTF-16.
    data = decode(file.data).text.encode() if b"\0" in file.data[:200] else file.data
    message = _parse(data)
    if not message.keys():
        raise Unreadable("is not a mail: it does not start with headers")
    assembly = Assembly()
    attachments = _write_message(message, assembly, file, level=1)
    return Extracted(
        assembly.text, assembly.blocks, _header(message, "Subject"), _metadata(message), tuple(attachments)
    )


def read_mailbox(file: RawFile) -> Extracted:
    """All messages of an mbox file, one after the other."""
    starts = [found.start() for found in _FROM_LINE.finditer(file.data) if _begins(file.data, found.start())]
    if not starts:
        raise Unreadable("is not a mailbox: it has no line that starts with 'From '")
    assembly = Assembly()
    attachments: list[Attachment] = []
    for start, end in zip(starts, [*starts[1:], len(file.data)], strict=True):
        file.check_time()
        content = file.data[start:end].partition(b"\n")[2]
        attachments += _write_message(_parse(re.sub(rb"(?m)^>(>*From )", rb"\1", content)), assembly, file, level=1)
    return Extracted(
        assembly.text, assembly.blocks, metadata=(("messages", str(len(starts))),), attachments=tuple(attachments)
    )


def write_headers(headers: dict[str, str], assembly: Assembly, level: int) -> None:
    """The subject as a heading, the others as lines below it."""
    assembly.heading(headers.get("Subject") or "(no subject)", level)
    assembly.add("paragraph", "\n".join(f"{name}: {headers[name]}" for name in HEADERS if headers.get(name)))


def write_body(plain: str, html: str, assembly: Assembly, file: RawFile, *, below: int) -> None:
    """The longer of two alternative bodies; the plain one if they are about as long."""
    rich = Assembly()
    root = parse_page(html) if html.strip() else None
    if root is not None:
        write_page(root, rich, file, below=below)
    if len(plain.split()) >= 0.8 * len(rich.text.split()):
        found = read_text(plain.strip())
        for block in found.blocks:
            # A line of dashes below a line is a signature's mark or a rule in a mail, not a heading.
            kind = "paragraph" if block.kind == "heading" else block.kind
            assembly.add(kind, found.text[block.start : block.end])
    else:
        assembly.append(rich.text, rich.blocks)


def _begins(data: bytes, at: int) -> bool:
    """Whether a message starts here: an empty line precedes it and a header follows."""
    line = data.find(b"\n", at) + 1
    after_gap = at == 0 or data[max(0, at - 3) : at].endswith((b"\n\n", b"\n\r\n"))
    return after_gap and b":" in data[line : line + 200].split(b"\n")[0]


def _parse(data: bytes) -> EmailMessage:
    message = BytesParser(policy=email.policy.default).parsebytes(data)
    assert isinstance(message, EmailMessage)
    return message


def _write_message(message: EmailMessage, assembly: Assembly, file: RawFile, *, level: int) -> list[Attachment]:
    headers = {name: _header(message, name) for name in ("Subject", *HEADERS)}
    write_headers(headers, assembly, level)
    plain: list[str] = []
    html: list[str] = []
    attachments: list[Attachment] = []
    for number, part in enumerate(_parts(message), 1):
        if number > _MOST_PARTS:
            raise Unreadable(f"has more than {_MOST_PARTS:,} parts")
        kind = part.get_content_type()
        name = _filename(part)
        if part.get_content_disposition() == "attachment" or name or kind == "message/rfc822" or _is_binary(kind):
            attachments.append(Attachment(name or _unnamed(part, number), _content(part), kind))
        elif kind == "text/html":
            html.append(decode_page(_content(part), assumed=_charset(part)).text)
        else:
            plain.append(decode(_content(part), declared=_charset(part), assumed=file.encoding).text)
    write_body("\n\n".join(plain), "\n".join(html), assembly, file, below=level)
    if attachments:
        assembly.add("list", "Attachments:\n" + "\n".join(f"- {each.name}" for each in attachments))
    return attachments


def _parts(message: email.message.Message) -> Iterator[EmailMessage]:
    """The leaf parts; a mail inside the mail counts as one leaf."""
    if message.is_multipart() and message.get_content_type() != "message/rfc822":
        for part in message.get_payload():
            if isinstance(part, email.message.Message):
                yield from _parts(part)
    elif isinstance(message, EmailMessage):
        yield message


def _is_binary(kind: str) -> bool:
    return not kind.startswith(("text/", "multipart/")) and kind != "message/delivery-status"


def _content(part: EmailMessage) -> bytes:
    if part.get_content_type() == "message/rfc822":
        inner = _inner(part)
        return inner.as_bytes() if inner is not None else b""
    payload = part.get_payload(decode=True)
    return payload if isinstance(payload, bytes) else str(part.get_payload()).encode("utf-8", "surrogateescape")


def _inner(part: EmailMessage) -> email.message.Message | None:
    """The mail inside a part."""
    payload = part.get_payload()
    first = payload[0] if isinstance(payload, list) and payload else None
    return first if isinstance(first, email.message.Message) else None


def _charset(part: EmailMessage) -> str | None:
    try:
        return part.get_content_charset()
    except (LookupError, ValueError):
        return None


def _filename(part: EmailMessage) -> str:
    try:
        return " ".join((part.get_filename() or "").split()).replace("/", "_").replace("\\", "_")
    except (LookupError, ValueError):
        return ""


def _unnamed(part: EmailMessage, number: int) -> str:
    if part.get_content_type() == "message/rfc822":
        inner = _inner(part)
        subject = str(inner.get("Subject") or "") if inner is not None else ""
        return (re.sub(r"[^\w .-]+", "_", subject).strip() or f"mail {number}")[:100] + ".eml"
    return f"attachment {number}"


def _header(message: EmailMessage, name: str) -> str:
    written = next((str(raw) for key, raw in message.raw_items() if key.lower() == name.lower()), "")
    try:
        # The parser's time grows with the square of the header's length.
        value = str(message.get(name) or "") if len(written) <= _LONGEST_HEADER else written
    except (LookupError, ValueError, IndexError, AttributeError, TypeError):  # headers on which the parser fails
        value = written
    # Invalid bytes of a header are kept as surrogates.
    data = value.encode("utf-8", "surrogateescape")
    return " ".join(decode(data).text.split()) if data.strip() else ""


def _metadata(message: EmailMessage) -> tuple[tuple[str, str], ...]:
    found = [("authors", _header(message, "From"))]
    with contextlib.suppress(ValueError, TypeError, IndexError):
        found.append(("created_at", parsedate_to_datetime(_header(message, "Date")).isoformat()))
    return tuple((key, value) for key, value in found if value)
