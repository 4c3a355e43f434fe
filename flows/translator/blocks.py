"""Secrets that people keep on the Prefect server, in Secret blocks."""

from typing import Any

from prefect.blocks.system import Secret


def secret_of_block(name: str) -> str | None:
    """The value of a Prefect Secret block; None if there is none of that name."""
    load: Any = Secret.load  # its type does not know that `_sync` makes it return the block itself
    try:
        return str(load(name, _sync=True).get())
    except ValueError:
        return None
