"""The kinds of sources that come with Braid, one module per kind."""

from handlers.sources.kinds.feed import Feed
from handlers.sources.kinds.files import FILES, Files
from handlers.sources.kinds.git import Git
from handlers.sources.kinds.mail import Mailbox
from handlers.sources.kinds.rest import RestObjects
from handlers.sources.kinds.rows import Rows
from handlers.sources.kinds.web import Web

__all__ = ["FILES", "Feed", "Files", "Git", "Mailbox", "RestObjects", "Rows", "Web"]
