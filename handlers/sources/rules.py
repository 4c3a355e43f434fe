"""The rules by which an object of a source is left out rather than ingested, each with its meaning."""

from collections.abc import Mapping

RULES: Mapping[str, str] = {
    "format": "no reader knows its format",
    "pattern": "its path does not fit the pattern",
    "hidden": "hidden files and folders, and lock files of office programs",
    "excluded": "its path fits a pattern that excludes it",
    "sidecar": "it holds the tags of other files",
    "empty": "it has no content",
    "size": "it is larger than a document may be",
    "link": "a link that leads out of the folder, to a folder, to itself or nowhere",
    "permission": "this user may not read it",
    "name": "its name is not valid UTF-8",
    "special": "a device, a pipe or a socket",
    "ignored": "an ignore file of the source excludes it",
    "robots": "robots.txt forbids fetching it",
    "duplicate": "another file has the same canonical URI",
    "unlisted": "it could not be listed; its content stays in the index",
    "limit": "it comes after the requested number of files",
}
"""Every rule, in the order in which they are shown."""

STRICT = ("format", "size", "permission", "name")
"""The rules that `strict` turns into errors, because these objects may have been left out by mistake."""
