"""What `braid doctor` says of one thing that it looked at."""

from typing import Literal, NamedTuple, TypeAlias

Level: TypeAlias = Literal["ok", "note", "warning", "error"]


class Finding(NamedTuple):
    """One thing that was looked at; a trouble says what to do about it."""

    topic: str
    level: Level
    text: str
