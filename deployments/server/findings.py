"""The result of one check of `braid doctor`."""

from typing import Literal, NamedTuple, TypeAlias

Level: TypeAlias = Literal["ok", "note", "warning", "error"]


class Finding(NamedTuple):
    """One thing that was examined; the text of a trouble names the cure."""

    topic: str
    level: Level
    text: str
