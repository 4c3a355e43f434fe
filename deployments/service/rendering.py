"""Pages from templates: the values that every page gets, and the wording of times."""

import hashlib
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse

from deployments.service.state import caller_of, service_of

FOLDER = Path(__file__).parent
STATIC = FOLDER / "static"
_UNITS = ((86_400 * 365, "year"), (86_400 * 30, "month"), (86_400, "day"), (3600, "hour"), (60, "minute"))


def render(request: Request, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
    """A page; templates get the caller and the values given here."""
    service = service_of(request)
    caller = caller_of(request)
    signed_in = caller is not None and service.tokens.in_use()
    common = {
        "caller": caller,
        "signed_in": signed_in,
        "prefect_ui": service.prefect_ui,
        "here": "",
        "q": "",
        "index": "",
    }
    return HTMLResponse(_templates().get_template(name).render(common | values), status_code=status)


def to(path: str, **query: Any) -> str:
    """An address with a query; empty values are left out, lists become repeated parameters."""
    pairs: list[tuple[str, str]] = []
    for name, value in query.items():
        several: Iterable[Any] = value if isinstance(value, (list, tuple)) else (value,)
        pairs += [(name, str(each)) for each in several if each not in (None, "")]
    return f"{path}?{urlencode(pairs)}" if pairs else path


def ago(seconds: float) -> str:
    """The age of a time in words."""
    passed = max(0.0, time.time() - seconds)
    for size, unit in _UNITS:
        if passed >= size:
            number = int(passed // size)
            return f"{number} {unit}{'s' if number > 1 else ''} ago"
    return "just now"


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")


@cache
def _templates() -> Environment:
    made = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "ago": ago,
        "iso": lambda seconds: datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds"),
    }
    made.globals |= {"to": to, "version": _version()}
    return made


def _version() -> str:
    """A version that changes with the style and the script, so that a browser never mixes two versions."""
    hashed = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        hashed.update(path.read_bytes())
    return hashed.hexdigest()[:12]
