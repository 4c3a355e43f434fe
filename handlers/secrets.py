"""Secrets by reference: pipelines name them (`env:CRM_TOKEN`), the process looks them up, messages never show them."""

import os
from collections.abc import Callable, Iterable, Mapping

from flows.errors import FatalError
from flows.model import LEFT_OUT, HiddenValues, hide_secrets, keep_secret

REDACTED = LEFT_OUT
_SHORTEST = 4


class MissingSecret(FatalError):
    """There is no secret behind a reference; the message shows the reference, which is not secret."""


class Secrets:
    """Call it with a reference to get the secret; `env:NAME` is built in, `loaders` add other kinds."""

    def __init__(self, loaders: Mapping[str, Callable[[str], str]] | None = None) -> None:
        self._loaders = {"env": _from_environment, **(loaders or {})}

    def __call__(self, reference: str) -> str:
        """The secret.

        Raises:
            MissingSecret: it is not a reference, or it has no secret behind it.
        """
        kind, separator, name = reference.partition(":")
        if not separator or kind not in self._loaders or not name or "/" in name:
            # It may be the secret itself, so it is not shown.
            kinds = ", ".join(f"{kind}:NAME" for kind in sorted(self._loaders))
            raise MissingSecret(f"a secret is given by reference, as {kinds}; never write the secret itself")
        found = self._loaders[kind](name)
        keep_secret([found])
        return found

    def is_reference(self, text: str) -> bool:
        kind, separator, rest = text.partition(":")
        return bool(separator) and kind in self._loaders and not rest.startswith("//")


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if not value:
        raise MissingSecret(f"env:{name}: the environment has no variable {name}; set it where the pipeline runs")
    return value


def hide(text: str, secrets: Iterable[str | None]) -> str:
    """`text` without the secrets, in whatever encoding, whole or in part, and without passwords in URLs."""
    known = [secret for secret in secrets if secret]
    for secret in known:  # also the other secret parts of a URL
        text = text.replace(secret, REDACTED) if len(secret) >= _SHORTEST else text
    return hide_secrets(HiddenValues(known).hide(text))
