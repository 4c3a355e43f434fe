"""Draws the pictures of the pages: `python -m docs.images.draw`.

The rooms come from the import contracts in pyproject.toml. A test compares the files with what this module draws.
"""

import tomllib
from pathlib import Path
from xml.sax.saxutils import escape

FOLDER = Path(__file__).parent
ROOT = FOLDER.parent.parent
_FONT = 'system-ui,-apple-system,"Segoe UI",Roboto,sans-serif'
_STYLE = f"""
text {{ font-family: {_FONT}; font-size: 13px; fill: #1d2733; text-anchor: middle }}
.title {{ font-size: 18px; font-weight: 700; text-anchor: start }}
.name {{ font-weight: 600 }}
.right {{ text-anchor: end }}
.bar {{ fill: #3d74c4 }}
.note {{ font-size: 11px; fill: #52606d }}
.arrow {{ stroke: #52606d; stroke-width: 1.8; fill: none; marker-end: url(#head) }}
.dashed {{ stroke-dasharray: 5 4 }}
.head {{ fill: #52606d }}
.page {{ fill: #ffffff }}
.blue {{ fill: #eef4fb; stroke: #4a7ab5 }} .green {{ fill: #eef8f1; stroke: #4b9d6e }}
.sand {{ fill: #fdf5e9; stroke: #b98a3e }} .red {{ fill: #fdeeee; stroke: #c25656 }}
.grey {{ fill: #f4f5f7; stroke: #8a94a0 }}
.plain {{ fill: #ffffff }}
@media (prefers-color-scheme: dark) {{
  text {{ fill: #e6e9ee }} .note {{ fill: #a9b3bf }} .page {{ fill: #1b1f27 }} .plain {{ fill: #232833 }}
  .arrow {{ stroke: #a9b3bf }} .head {{ fill: #a9b3bf }}
  .blue {{ fill: #1d2a3d }} .green {{ fill: #1c3226 }} .sand {{ fill: #38301f }} .red {{ fill: #3c2325 }}
  .grey {{ fill: #2a2f39 }} .bar {{ fill: #6fa8f5 }}
}}
"""


class Picture:
    """Boxes, arrows and words on a card, in pixels."""

    def __init__(self, width: int, height: int, about: str) -> None:
        self._size = width, height
        self._about = about
        self._parts = [f'<rect class="page" width="{width}" height="{height}" rx="12"/>']

    def box(
        self, x: float, y: float, width: float, height: float, name: str, note: str = "", kind: str = "blue"
    ) -> None:
        """A box with a name, and one line or several below it."""
        self._parts.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="7"/>')
        lines = note.split("\n") if note else []
        top = y + height / 2 + 4.5 - 7.5 * len(lines)
        self.words(x + width / 2, top, name, "name")
        for number, line in enumerate(lines, 1):
            self.words(x + width / 2, top + 15 * number, line, "note")

    def band(self, x: float, y: float, width: float, height: float, kind: str, radius: float = 7) -> None:
        """A box without words."""
        self._parts.append(
            f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="{radius:g}"/>'
        )

    def frame(self, x: float, y: float, width: float, height: float, title: str, note: str, kind: str) -> None:
        """A large box with its title in the corner."""
        self._parts.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="10"/>')
        self.words(x + 14, y + 25, title, "title")
        self._parts.append(
            f'<text class="note" style="text-anchor:start" x="{x + 14:g}" y="{y + 42:g}">{escape(note)}</text>'
        )

    def arrow(self, *points: tuple[float, float], dashed: bool = False) -> None:
        path = " ".join(f"{'L' if number else 'M'}{x:g} {y:g}" for number, (x, y) in enumerate(points))
        self._parts.append(f'<path class="arrow{" dashed" if dashed else ""}" d="{path}"/>')

    def words(self, x: float, y: float, text: str, kind: str = "note") -> None:
        self._parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}">{escape(text)}</text>')

    def svg(self) -> str:
        width, height = self._size
        head = '<marker id="head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="7" markerHeight="7" orient="auto">'
        return "\n".join(
            [
                f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
                f'width="{width}" height="{height}" '
                f'role="img" aria-label="{escape(self._about)}">',
                f"<style>{_STYLE}</style>",
                f'<defs>{head}<path class="head" d="M0 0L10 5L0 10z"/></marker></defs>',
                *self._parts,
                "</svg>\n",
            ]
        )


def pictures() -> dict[str, str]:
    """The text of every picture, by file name."""
    return {
        "hybrid-rag.svg": hybrid_rag(),
        "rooms.svg": rooms(),
        "document.svg": document(),
        "call.svg": call(),
        "merge.svg": merge(),
    }


_HYBRID_RAG = (
    ("list_sources", 0.0, 0.65),
    ("extract_text", 0.65, 2.42),
    ("partition_text", 3.08, 0.43),
    ("generate_dense_embeddings", 3.52, 14.01),
    ("generate_sparse_embeddings", 3.52, 1.12),
    ("extract_entities", 3.52, 0.41),
    ("generate_summary", 3.52, 1.24),
    ("store_documents", 17.57, 0.04),
    ("store_dense_vectors", 17.57, 0.04),
    ("store_sparse_vectors", 17.57, 1.31),
    ("store_graph", 17.60, 0.04),
    ("publish_documents", 18.91, 0.03),
)
"""Steps with start and seconds, from a run of the README's pipeline on `examples/documents/databases`, on two cores."""


def hybrid_rag() -> str:
    """A run of the README's pipeline: a bar per step, those of a group on one band."""
    left, scale, row, top = 236.0, 37.0, 18.0, 8.0
    picture = Picture(1000, 254, "A run of a pipeline with two groups of four parallel steps")
    for first, kind in ((3, "green"), (7, "sand")):
        picture.band(12, top + first * row, 976, 4 * row, kind)
        picture.words(948, top + first * row + 14, "four at once")
    for number, (name, start, seconds) in enumerate(_HYBRID_RAG):
        y = top + number * row
        picture.words(left - 12, y + 13.5, name, "right")
        picture.band(left + start * scale, y + 3, max(seconds * scale, 3), row - 6, "bar", radius=3)
    for second in range(0, 20, 5):
        picture.words(left + second * scale, top + len(_HYBRID_RAG) * row + 18, f"{second} s")
    for line, text in enumerate(
        ("11 documents, two cores", "19.1 s by the clock, 21.7 s of work", "a task run per bar")
    ):
        picture.words(850, top + 15 + 16 * line, text)
    return picture.svg()


def rooms() -> str:
    """The rooms of the three houses, as the import contracts have them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {
        one["containers"][0]: one["layers"]
        for one in project["tool"]["importlinter"]["contracts"]
        if "containers" in one
    }
    notes = {"deployments": "wire and ship", "handlers": "do the work", "flows": "describe and run"}
    widths = {"deployments": 300, "handlers": 490, "flows": 290}
    kinds = {"deployments": "blue", "handlers": "green", "flows": "sand"}
    most = max(len(layers) for layers in contracts.values())
    picture = Picture(1180, most * 40 + 130, "The rooms of deployments, handlers and flows, and what each may import")
    x = 20.0
    for house in ("deployments", "handlers", "flows"):
        width = widths[house]
        picture.frame(x, 20, width, len(contracts[house]) * 40 + 62, house, notes[house], kinds[house])
        for row, layer in enumerate(contracts[house]):
            names = [name.strip() for name in layer.replace(":", "|").split("|")]
            each = (width - 24 - 6 * (len(names) - 1)) / len(names)
            for number, name in enumerate(names):
                picture.box(x + 12 + number * (each + 6), 72 + row * 40, each, 34, name, kind=f"{kinds[house]} plain")
        x += width
        if house != "flows":
            picture.arrow((x, 120), (x + 29, 120))
        x += 30
    picture.words(
        590,
        most * 40 + 112,
        "A house may import those to its right. A room may import the rooms below it, never one beside or above it.",
    )
    return picture.svg()


def document() -> str:
    """The life of a document, from its source to its outcome."""
    picture = Picture(1080, 372, "The life of a document: listed, compared, read, cut, made searchable, published")
    steps = [
        ("listed", "canonical URI,\nchange token"),
        ("compared", "with what the\nindex has"),
        ("read", "in a parser process:\ntext, tables, pictures"),
        ("cut", "into passages\nwith offsets"),
        ("staged", "vectors, terms, facts,\nside by side"),
        ("published", "in one\ntransaction"),
    ]
    for number, (name, note) in enumerate(steps):
        picture.box(24 + number * 174, 40, 146, 76, name, note, "blue")
        if number:
            picture.arrow((24 + number * 174 - 28, 78), (24 + number * 174, 78))
    ends = [
        (24, "left out", "by a named rule: format,\npattern, hidden, size …", "grey"),
        (198, "unchanged", "nothing is read,\nnothing is embedded", "grey"),
        (460, "set aside", "with its reason; the last good\nversion stays searchable", "red"),
        (894, "processed", "found by\nbraid search", "green"),
    ]
    for x, name, note, kind in ends:
        width = 200 if name == "set aside" else 146
        picture.box(x, 230, width, 76, name, note, kind)
    picture.arrow((97, 116), (97, 230))
    picture.arrow((271, 116), (271, 230))
    for x in (445, 619, 793):
        picture.arrow((x, 116), (x, 170), (560, 170), (560, 230), dashed=True)
    picture.arrow((967, 116), (967, 230))
    picture.words(702, 192, "whatever goes wrong with this one document")
    picture.words(540, 346, "seen = processed + unchanged + set aside + left out, for every source", "name")
    return picture.svg()


def call() -> str:
    """The life of a call of a handler, with its retries."""
    picture = Picture(1080, 330, "The life of a call: waits, is admitted, runs, is tried again, ends with one outcome")
    for x, name, note, kind in (
        (24, "waits", "for its slot, for every\nlimit of its resources", "grey"),
        (224, "is admitted", "by all limits at once", "blue"),
        (424, "runs", "in a thread, a process\nor on a cluster", "blue"),
        (704, "is sorted", "transient or fatal?", "sand"),
    ):
        picture.box(x, 110, 160, 70, name, note, kind)
    picture.arrow((184, 145), (224, 145))
    picture.arrow((384, 145), (424, 145))
    picture.arrow((584, 145), (704, 145))
    picture.words(644, 137, "an exception")
    picture.box(424, 236, 160, 70, "succeeded", "result and outcome kept\nin one transaction", "green")
    picture.arrow((504, 180), (504, 236))
    picture.box(894, 20, 166, 60, "timed_out", "the step's time is over", "red")
    picture.box(894, 115, 166, 60, "failed", "fatal, or no attempt left", "red")
    picture.box(894, 210, 166, 76, "cancelled, abandoned", "the group was stopped;\na thread did not listen", "red")
    picture.arrow((864, 145), (894, 145))
    picture.arrow((864, 125), (879, 125), (879, 50), (894, 50))
    picture.arrow((864, 165), (879, 165), (879, 248), (894, 248))
    picture.arrow((784, 110), (784, 60), (104, 60), (104, 110), dashed=True)
    picture.words(
        444, 52, "transient: AwaitingRetry, after the delay of its rule or of Retry-After; it holds no slot meanwhile"
    )
    return picture.svg()


def merge() -> str:
    """How the changes of branches are merged."""
    picture = Picture(
        1080,
        360,
        "A merge: branches work on views of the context at the fork, their changes are merged in declared order",
    )
    picture.box(24, 130, 150, 90, "context", "at the fork:\n{text, tags}", "blue")
    branches = [
        ("branch 1", "writes summary", "ends second", 30),
        ("branch 2", "appends to tags", "ends last", 145),
        ("branch 3", "appends to tags", "ends first", 260),
    ]
    for name, note, end, y in branches:
        picture.arrow((174, 175), (220, 175), (220, y + 35), (258, y + 35))
        picture.box(258, y, 170, 70, name, f"sees the fork only;\n{note}", "sand")
        picture.box(486, y, 130, 70, "its changes", end, "grey")
        picture.arrow((428, y + 35), (486, y + 35))
        picture.arrow((616, y + 35), (658, y + 35), (658, 175), (694, 175))
    picture.box(694, 130, 150, 90, "merge", "in declared order:\n1, 2, 3", "blue")
    picture.arrow((844, 175), (894, 175))
    picture.box(894, 130, 162, 90, "context", "{text, summary,\ntags + 2 + 3}", "green")
    picture.arrow((769, 220), (769, 272), dashed=True)
    picture.box(684, 272, 170, 64, "conflict", "two write one place and\nno reducer is declared", "red")
    return picture.svg()


def main() -> None:
    """Write every picture."""
    for name, text in pictures().items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
