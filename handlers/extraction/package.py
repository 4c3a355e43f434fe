"""Documents that are archives of XML: their parts, the relations between the parts, and limits."""

import io
import posixpath
import zipfile
import zlib
from collections.abc import Iterator
from functools import cached_property
from typing import NamedTuple
from urllib.parse import unquote

from lxml import etree

from handlers.extraction.formats import Unreadable

_MAX_MEMBERS = 20_000
_MAX_UNPACKED_BYTES = 1 << 30
_MAX_PART_BYTES = 200_000_000
OLE_MAGIC = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_PACKAGE = "EncryptedPackage".encode("utf-16-le")
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_STRICT = "http://purl.oclc.org/ooxml/officeDocument/relationships"
_MARKUP = "http://schemas.openxmlformats.org/markup-compatibility/2006"


class Relation(NamedTuple):
    """How a part refers to another; the target is the name of a member, or an address if it is outside."""

    id: str
    kind: str
    target: str
    outside: bool


class Package:
    """An opened archive.

    Raises:
        Unreadable: it is encrypted, damaged, no archive at all, or a bomb.
    """

    def __init__(self, data: bytes, kind: str) -> None:
        self.kind = kind
        check_password(data)
        if data.startswith(OLE_MAGIC):
            raise Unreadable(f"is in a format of before 2007, despite its name; save it as {kind}")
        if not data.startswith(b"PK"):
            raise Unreadable(f"is not a {kind} file, despite its name")
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
            members = self._archive.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
            raise Unreadable("is damaged: its archive is cut off or broken; get a whole copy of it") from error
        if len(members) > _MAX_MEMBERS or sum(member.file_size for member in members) > _MAX_UNPACKED_BYTES:
            raise Unreadable("unpacks to more than is reasonable for a document")
        # Some programs write names with backslashes or a leading slash.
        self._members = {member.filename.replace("\\", "/").lstrip("/"): member for member in members}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    @property
    def names(self) -> list[str]:
        return list(self._members)

    def read(self, name: str) -> bytes:
        """A member's bytes.

        Raises:
            Unreadable: it is missing, broken, encrypted or unreasonably large.
        """
        member = self._members.get(name)
        if member is None:
            raise Unreadable(f"is damaged or no {self.kind} file: {name} is missing in it")
        try:
            with self._archive.open(member) as stream:
                content = stream.read(_MAX_PART_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, OSError) as error:
            raise Unreadable(f"is damaged: {name} in it cannot be unpacked; get a whole copy of it") from error
        except RuntimeError as error:  # the error of zipfile for a member with a password
            raise Unreadable("is protected by a password; save it without one") from error
        if len(content) > _MAX_PART_BYTES:
            raise Unreadable(f"{name} in it unpacks to more than is reasonable")
        return content

    def xml(self, name: str) -> etree._Element:
        """The root of an XML member, without the alternatives for older programs.

        Raises:
            Unreadable: as `read`, or it is no XML.
        """
        root = parse_xml(self.read(name), name)
        for alternative in list(root.iter(f"{{{_MARKUP}}}AlternateContent")):
            _choose(alternative)
        return root

    def relations(self, part: str) -> dict[str, Relation]:
        """The relations of `part` to other parts, by id; "" is the whole package."""
        folder, name = posixpath.split(part)
        listed = posixpath.join(folder, "_rels", f"{name}.rels")
        if listed not in self:
            return {}
        found = [self._relation(folder, node) for node in self.xml(listed) if isinstance(node.tag, str)]
        return {relation.id: relation for relation in found}

    @cached_property
    def main_part(self) -> str:
        """The part that the document starts with, by its relation rather than its name."""
        targets = [each.target for each in self.relations("").values() if each.kind == "officeDocument"]
        if not targets or targets[0] not in self:
            raise Unreadable(f"is damaged or no {self.kind} file: its main part is missing")
        return targets[0]

    def related(self, part: str, kind: str) -> Iterator[str]:
        """The existing members that `part` refers to with relations of a `kind`."""
        for relation in self.relations(part).values():
            if relation.kind == kind and not relation.outside and relation.target in self:
                yield relation.target

    def _relation(self, folder: str, node: etree._Element) -> Relation:
        target, outside = node.get("Target", ""), node.get("TargetMode") == "External"
        if not outside:
            target = posixpath.normpath(posixpath.join("/", folder, unquote(target))).lstrip("/")
        return Relation(node.get("Id", ""), node.get("Type", "").rpartition("/")[2], target, outside)

    def properties(self) -> dict[str, str]:
        """Title, authors, subject, keywords and dates, from the package's properties."""
        found: dict[str, str] = {}
        for part in self.related("", "core-properties"):
            for node in self.xml(part):
                if isinstance(node.tag, str) and (value := " ".join(all_text(node).split())):
                    key = _PROPERTIES.get(etree.QName(node).localname)
                    if key:
                        found[key] = value
        return found


_PROPERTIES = {
    "title": "title",
    "creator": "authors",
    "subject": "subject",
    "keywords": "keywords",
    "description": "description",
    "language": "language",
    "created": "created_at",
    "modified": "modified_at",
}


def check_password(data: bytes) -> None:
    """Refuse a document that was encrypted by an office program.

    Raises:
        Unreadable: it is.
    """
    if data.startswith(OLE_MAGIC) and _ENCRYPTED_PACKAGE in data:
        raise Unreadable("is protected by a password; save it without one")


def relation_id(node: etree._Element, name: str = "id") -> str:
    """The id of the relation that an attribute names."""
    return node.get(f"{{{_RELATIONS}}}{name}") or node.get(f"{{{_STRICT}}}{name}") or ""


def parse_xml(data: bytes, name: str = "it") -> etree._Element:
    """The root; entities that a document declares are not expanded, and nothing is fetched.

    Raises:
        Unreadable: this is no XML.
    """
    parser = etree.XMLParser(
        resolve_entities=False, no_network=True, huge_tree=True, remove_comments=True, remove_pis=True
    )
    try:
        return etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise unreadable_xml(name, error) from error


def unreadable_xml(name: str, error: etree.XMLSyntaxError) -> Unreadable:
    """The reason why XML cannot be read; two of the parser's limits do not mean damage."""
    message = str(error.msg)
    if "depth" in message:
        return Unreadable(f"is nested too deeply to be read: {name} has more than two thousand levels")
    if "amplification" in message:
        return Unreadable(
            f"has entities in entities that unpack to any size, like a decompression bomb: {name} needs too much memory"
        )
    return Unreadable(f"is damaged: {name} is not valid XML ({message})")


def local_name(node: etree._Element) -> str:
    """The tag without its namespace; empty for nodes that are not elements."""
    return node.tag.rpartition("}")[2] if isinstance(node.tag, str) else ""


def all_text(node: etree._Element) -> str:
    """The text of a node and all below it."""
    return "".join(map(str, node.itertext()))


def _choose(alternative: etree._Element) -> None:
    """Keep only the first of the alternatives; they have the same content, so the text would appear twice."""
    parent = alternative.getparent()
    if parent is None:
        return
    at = parent.index(alternative)
    choices = [each for each in alternative if local_name(each) in ("Choice", "Fallback")]
    chosen = next((each for each in choices if all_text(each).strip()), choices[0] if choices else ())
    parent[at : at + 1] = list(chosen)
