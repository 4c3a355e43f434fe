"""Packages that a kind of source needs and that may not be installed."""

from flows.errors import StorageUnusable


def missing_extra(package: str, extra: str) -> StorageUnusable:
    """The error for a package that is not installed, naming the extra that brings it."""
    return StorageUnusable(f"{package} is not installed; install it with: pip install 'braid-pipelines[{extra}]'")
