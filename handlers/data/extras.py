"""Optional packages that data steps need."""

from flows.errors import FatalError


def missing_extra(package: str, extra: str) -> FatalError:
    """The error for a package that is not installed."""
    return FatalError(f"needs the package {package}: pip install 'braid-pipelines[{extra}]'")
