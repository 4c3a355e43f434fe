"""The command line, a module per command; `execution`, `sharded`, `common` and `problem_formats` serve several of them.

Nothing is re-exported: `deployments.cli` imports the module of each command.
"""

__all__: list[str] = []
