"""The rules by which an object of a source is left out rather than ingested, each with its meaning."""

from collections.abc import Mapping

RULES: Mapping[str, str] = {
    "format": "no reader knows its format",
    "pattern": "its path does not fit the pattern",
    "hidden": "hidden files and folders, and lock files of office programs",
    "excluded": "its path fits a pattern that excludes it",
    "sidecar": "it has the tags of other files",
    "empty": "it has no content",
    "size": "it is larger than a document may be",
    "link": "a link that leads out of the folder, to a folder, to itself or nowhere",
    "permission": "this user may not read it",
    "name": "its name is not text",
    "special": "a device, a pipe or a socket",
    "ignored": "an ignore file of the source names it",
    "robots": "robots.txt does not allow to fetch it",
    "duplicate": "another file has the same canonical URI",
    "unlisted": "it could not be listed; what the index has of it stays",
    "limit": "it comes after as many files as were asked for",
}
"""Every rule, in the order in which they are shown."""

STRICT = ("format", "size", "permission", "name")
"""The rules that `strict` turns into errors, because these objects may have been left out by mistake."""
