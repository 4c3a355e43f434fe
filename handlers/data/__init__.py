"""Data steps: `query`, `transform`, `skill` and `merge`, as in data pipelines of the `type: parallel` dialect."""

from handlers.data.connections import Connections
from handlers.data.hosts import AllowedHosts
from handlers.data.rest import Rest
from handlers.data.skills import load_skills

__all__ = ["AllowedHosts", "Connections", "Rest", "load_skills"]
