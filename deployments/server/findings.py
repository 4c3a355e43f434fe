"""The result of one check of `braid doctor`."""

from typing import Literal, NamedTuple, TypeAlias

Level: TypeAlias = Literal["ok", "note", "warning", "error"]


class Finding(NamedTuple):
    """The result of one check; for a problem, the text has the cure."""

    topic: str
    level: Level
    text: str
