"""Data steps: `query`, `transform`, `skill` and `merge`, as in data pipelines of the `type: parallel` dialect."""

from handlers.data.connections import Connections
from handlers.data.functions import transform
from handlers.data.hosts import AllowedHosts
from handlers.data.rest import Rest
from handlers.data.skills import load_skills
from handlers.data.structured import output_model

__all__ = ["AllowedHosts", "Connections", "Rest", "load_skills", "output_model", "transform"]
