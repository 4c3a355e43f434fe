"""Tag filters: which documents a question may be answered from."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from handlers.tags import tag_name


@dataclass(frozen=True)
class TagFilter:
    """All keys must match (AND), each by any of its values (OR); no key at all matches everything.

    A key with no values matches nothing: an empty list of permitted values permits nothing.
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
        """What every one of them lets through: who asks and what is asked for may name the same key."""
        pairs = [pair for each in filters for pair in cls.of(each).wanted]
        return cls(tuple(sorted(set(pairs))))

    def __bool__(self) -> bool:
        return bool(self.wanted)

    def matches(self, tags: Iterable[tuple[str, str]]) -> bool:
        """Whether a document with these tags may be shown."""
        present = set(tags)
        return all(any((key, value) in present for value in values) for key, values in self.wanted)
