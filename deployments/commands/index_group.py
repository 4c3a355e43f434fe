"""`braid index`, with the commands of all its modules."""

from deployments.commands import index_proof, index_versions
from deployments.commands.index import app

__all__ = ["app", "index_proof", "index_versions"]
