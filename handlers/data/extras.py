"""Packages that data steps need and not everybody has."""

from flows.errors import FatalError


def missing_extra(package: str, extra: str) -> FatalError:
    """The error for a package that is not installed."""
    return FatalError(f"needs the package {package}: pip install 'braid-pipelines[{extra}]'")
