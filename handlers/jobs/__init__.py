"""Jobs of stages: registered functions, commands, and the keys by which no two of them do the same work at once."""

from handlers.jobs.keys import JobKeys
from handlers.jobs.registering import job

__all__ = ["JobKeys", "job"]
