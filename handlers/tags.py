"""Tags: valid names and values, the same for ingestion and search; and filters of documents by tag."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from flows.errors import OrchestrationError

FORBIDDEN = "=:;"
RESERVED_PREFIX = "__"
RESERVED = frozenset(
    {
        "__document_id",
        "__file_id",
        "__file_part",
        "__part_n",
        "__sect_n",
        "__file_type",
        "__artifact_type",
        "__synth",
        "__execution_id",
        "__pipeline_id",
        "__index",
    }
)
"""Reserved names: Braid's file formats use them, so documents cannot have such tags."""


ENCODING = "encoding"
"""The tag that declares the encoding of a text."""


class InvalidTag(OrchestrationError, ValueError):
    """A tag that is not valid; the message names it and the rule that it breaks."""


def tag_name(name: str) -> str:
    """`name`, if a document can be tagged with it.

    Raises:
        InvalidTag: it is empty, has one of `= : ;` or outer blanks, or is reserved.
    """
    if not name or name != name.strip() or any(character in FORBIDDEN for character in name):
        raise InvalidTag(
            f"tag {name!r}: a tag's name is not empty and contains none of {' '.join(FORBIDDEN)} "
            "nor blanks at its ends, for example 'department'"
        )
    if name.startswith(RESERVED_PREFIX):
        kind = "is reserved" if name in RESERVED else f"starts with {RESERVED_PREFIX!r}, which is reserved"
        raise InvalidTag(f"tag {name!r} {kind} for the system; use a name like {name.lstrip('_') or 'category'!r}")
    return name


def encoding_in(tags: Iterable[tuple[str, str]]) -> str | None:
    """The encoding that the tags of a document declare."""
    return dict(tags).get(ENCODING)


def check_tags(tags: Mapping[str, str | Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """The pairs of a mapping from name to value or values, sorted, each once, in the form of `Document.tags`.

    Raises:
        InvalidTag: a name is not valid, or a value is empty or not a text.
    """
    pairs: set[tuple[str, str]] = set()
    for name, values in tags.items():
        several = isinstance(values, Iterable) and not isinstance(values, str)
        for value in values if several else (values,):
            if not isinstance(value, str) or not value.strip():
                raise InvalidTag(f"tag {name!r}: {value!r} is not a value; give a text, in quotes if it is a number")
            pairs.add((tag_name(name), value))
    return tuple(sorted(pairs))


def read_tags(written: Iterable[str]) -> dict[str, list[str]]:
    """The names and values of `NAME=VALUE` as given on a command line; a name may come with several values.

    Raises:
        InvalidTag: one has no `=`, no value, or a name that is not valid.
    """
    found: dict[str, list[str]] = {}
    for each in written:
        name, equals, value = each.partition("=")
        if not equals or not value.strip():
            raise InvalidTag(f"{each!r} is not a tag: write NAME=VALUE, for example department=legal")
        values = found.setdefault(tag_name(name.strip()), [])
        if value.strip() not in values:
            values.append(value.strip())
    return found


@dataclass(frozen=True)
class TagFilter:
    """All keys must match (AND), each by any of its values (OR); a filter without keys matches everything.

    A key without values matches nothing: an empty list of permitted values permits nothing.
    """

    wanted: tuple[tuple[str, tuple[str, ...]], ...] = ()

    @classmethod
    def of(cls, wanted: "Mapping[str, str | Sequence[str]] | TagFilter | None") -> "TagFilter":
        """The filter a mapping from key to value or values stands for; `None` matches everything.

        Raises:
            InvalidTag: no document can have a tag of that name.
        """
        if isinstance(wanted, TagFilter):
            return wanted
        pairs: list[tuple[str, tuple[str, ...]]] = []
        for key, values in sorted((wanted or {}).items()):
            listed = (values,) if isinstance(values, str) else tuple(values)
            pairs.append((tag_name(key), tuple(sorted(set(listed)))))
        return cls(tuple(pairs))

    @classmethod
    def all_of(cls, *filters: "Mapping[str, str | Sequence[str]] | TagFilter | None") -> "TagFilter":
        """A filter that permits only documents that every given filter permits; several may have the same key."""
        pairs = [pair for each in filters for pair in cls.of(each).wanted]
        return cls(tuple(sorted(set(pairs))))

    def __bool__(self) -> bool:
        return bool(self.wanted)

    def matches(self, tags: Iterable[tuple[str, str]]) -> bool:
        """Whether a document with these tags may be shown."""
        present = set(tags)
        return all(any((key, value) in present for value in values) for key, values in self.wanted)
