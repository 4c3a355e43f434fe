"""Pictures for pages, drawn as SVG on a card with its own background, which suits light and dark pages.

A picture is part of a page's Markdown as a data URI, so no file has to be stored.
"""

import base64
import re
from collections.abc import Sequence
from typing import Literal, TypeAlias

from flows.model import hide_secrets
from flows.reports.tables import shortened

Anchor: TypeAlias = Literal["start", "middle", "end"]
WIDTH = 960.0
"""The width of every picture in pixels; narrower pages scale it down."""
_UNPRINTABLE = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff\ud800-\udfff]")
_NARROW, _WIDE = frozenset("iljtfrI.,:;'|!()[]·-` "), frozenset("mwMW@%→")
_STYLE = """
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:#1f2937}
.b{font-weight:600}.s{font-size:11.5px;fill:#64748b}.r{fill:#b4232c}.ok{fill:#15803d}
.page{fill:#fff;stroke:#dde3ea}.line{stroke:#e3e8ef;fill:none}.edge{stroke:#94a3b8;stroke-width:1.4;fill:none}
.tip{fill:#94a3b8}.step{fill:#fff;stroke:#9fb3cc}.maybe{stroke-dasharray:4 3}
.group{fill:#f1f6fd;stroke:#b9cfec}.loop{fill:#f0f9f3;stroke:#b3dcc0}.case{fill:#fdf7ea;stroke:#e6cf99}
.sub{fill:#f7f3fc;stroke:#cfbdea}
.work{fill:#9cc4f2}.path{fill:#2467c9}.wait{fill:#d3dae3}.again{fill:#e5a83b}.fail{fill:#d8464e}.skip{fill:#e8ecf1}
.done{fill:#3f9e63}.rest{fill:#e6ebf1}
@media(prefers-color-scheme:dark){
text{fill:#e5e9f0}.s{fill:#94a3b8}.r{fill:#f58088}.ok{fill:#6ed394}
.page{fill:#1b1d21;stroke:#3a3d44}.line{stroke:#30333a}.edge{stroke:#64748b}.tip{fill:#64748b}
.step{fill:#23272f;stroke:#566479}.group{fill:#17233a;stroke:#33507c}.loop{fill:#152a1e;stroke:#2f5f41}
.case{fill:#2c2618;stroke:#6b5a2e}.sub{fill:#231c33;stroke:#55437c}
.work{fill:#3f6fb0}.path{fill:#6fb0ff}.wait{fill:#465063}.again{fill:#d79a33}.fail{fill:#e5646b}.skip{fill:#2a3240}
.done{fill:#4cae72}.rest{fill:#2a3240}}
"""


class Picture:
    """Boxes, lines and texts at positions in pixels."""

    def __init__(self) -> None:
        self._parts: list[str] = []

    def box(
        self, x: float, y: float, width: float, height: float, kind: str, *, radius: float = 6, title: str = ""
    ) -> None:
        """A rectangle; `title` is shown when the pointer rests on it, in a picture that is opened by itself."""
        inner = f"><title>{_escaped(title)}</title></rect>" if title else "/>"
        place = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
        self._parts.append(f'<rect class="{kind}" {place} rx="{_n(radius)}"{inner}')

    def text(self, x: float, y: float, text: str, kind: str = "", *, anchor: Anchor = "start") -> None:
        named = f' class="{kind}"' if kind else ""
        side = f' text-anchor="{anchor}"' if anchor != "start" else ""
        self._parts.append(f'<text{named}{side} x="{_n(x)}" y="{_n(y)}">{_escaped(text)}</text>')

    def line(self, *points: tuple[float, float], kind: str = "line") -> None:
        path = "".join(f"{'L' if number else 'M'}{_n(x)} {_n(y)}" for number, (x, y) in enumerate(points))
        self._parts.append(f'<path class="{kind}" d="{path}"/>')

    def bars(self, spans: Sequence[tuple[float, float]], y: float, height: float, kind: str) -> None:
        """Rectangles in one row between the given positions."""
        path = "".join(f"M{_n(x)} {_n(y)}h{_n(to - x)}v{_n(height)}h{_n(x - to)}z" for x, to in spans)
        if path:
            self._parts.append(f'<path class="{kind}" d="{path}"/>')

    def arrow(self, *points: tuple[float, float]) -> None:
        """An arrow; its last segment points down or to the right."""
        self.line(*points, kind="edge")
        (x0, y0), (x, y) = points[-2:]
        wings = ((x - 4, y - 6), (x + 4, y - 6)) if abs(y - y0) >= abs(x - x0) else ((x - 6, y - 4), (x - 6, y + 4))
        corners = "L".join(f"{_n(a)} {_n(b)}" for a, b in ((x, y), *wings))
        self._parts.append(f'<path class="tip" d="M{corners}z"/>')

    def svg(self, height: float, *, about: str, width: float = WIDTH) -> str:
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{_n(width)}" height="{_n(height)}" '
            f'viewBox="0 0 {_n(width)} {_n(height)}" role="img"><title>{_escaped(about)}</title><style>{_STYLE}</style>'
            f'<rect class="page" x=".5" y=".5" width="{_n(width - 1)}" height="{_n(height - 1)}" rx="10"/>'
            f"{''.join(self._parts)}</svg>"
        )


def image(svg: str, *, about: str) -> str:
    """A picture as Markdown; `about` is its alternative text for screen readers."""
    alternative = re.sub(r"[\[\]\\`*_<>\r\n]", " ", about)
    return f"![{alternative}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"


def text_width(text: str, *, size: float = 13) -> float:
    """The estimated width of a text in pixels, rather too large than too small."""
    return size * sum(
        0.34 if each in _NARROW else 0.92 if each in _WIDE else 0.68 if each.isupper() else 0.58 for each in text
    )


def fitted(text: str, width: float, *, size: float = 13) -> str:
    """A text, shortened at its end if it is wider than `width`."""
    if text_width(text, size=size) <= width:
        return text
    most = len(text)
    while most > 1 and text_width(shortened(text, most), size=size) > width:
        most -= 1
    return shortened(text, most)


def _n(number: float) -> str:
    return f"{number:.1f}".removesuffix(".0")


def _escaped(text: str) -> str:
    shown = _UNPRINTABLE.sub("", hide_secrets(text))
    return shown.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
