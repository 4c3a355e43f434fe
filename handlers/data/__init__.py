"""Data steps: `query`, `transform`, `skill` and `merge`, as in data pipelines of the `type: parallel` dialect."""

from handlers.data.binding import BadQuery
from handlers.data.calling import call_database
from handlers.data.connections import Connections
from handlers.data.functions import transform
from handlers.data.hosts import AllowedHosts, make_client
from handlers.data.rest import Auth, Pagination, Rest, RestRequest, rest_pages
from handlers.data.skills import load_skills
from handlers.data.structured import output_model
from handlers.data.tables import read_rows

__all__ = [
    "AllowedHosts",
    "Auth",
    "BadQuery",
    "Connections",
    "Pagination",
    "Rest",
    "RestRequest",
    "call_database",
    "load_skills",
    "make_client",
    "output_model",
    "read_rows",
    "rest_pages",
    "transform",
]
