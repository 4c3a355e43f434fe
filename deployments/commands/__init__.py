"""The commands of braid, one module each.

Nothing is re-exported: `braid` imports the module of a command.
"""

__all__: list[str] = []
