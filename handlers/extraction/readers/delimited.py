"""CSV and TSV: one table, whose first row is the header."""

import csv
import io
import re
from itertools import islice

from handlers.extraction.assembly import Assembly
from handlers.extraction.formats import Extracted, Unreadable

_MAX_ROWS = 200_000
_LONGEST_CELL = (1 << 31) - 1
_SEPARATOR = re.compile(r"\Asep=(.)\n", re.IGNORECASE)


def read_csv(text: str, *, delimiter: str | None = None) -> Extracted:
    """The rows as one Markdown table, the first one as its header."""
    # Python's limit of 131,072 characters per cell holds for the whole process; this only ever raises it.
    csv.field_size_limit(_LONGEST_CELL)
    lines = text.strip("\n")
    if said := _SEPARATOR.match(lines):  # Excel writes this separator in languages with decimal commas
        delimiter, lines = said[1], lines[said.end() :]
    rows = csv.reader(io.StringIO(lines), delimiter=delimiter or _delimiter(lines))
    try:
        found = list(islice(rows, _MAX_ROWS + 1))
    except csv.Error as error:
        raise Unreadable(f"is not valid CSV, line {rows.line_num}: {error}") from error
    if len(found) > _MAX_ROWS:
        raise Unreadable(f"has more than {_MAX_ROWS:,} rows; split it")
    assembly = Assembly()
    assembly.table(found)
    return Extracted(assembly.text, assembly.blocks, metadata=(("rows", str(max(len(found) - 1, 0))),))


def read_tsv(text: str) -> Extracted:
    """The same for tab-separated cells."""
    return read_csv(text, delimiter="\t")


def _delimiter(text: str) -> str:
    # `csv.Sniffer` may choose letters as delimiters; only these occur in practice.
    lines = [re.sub(r'"[^"\n]*"', "", line) for line in text[:20_000].split("\n")[:20] if line]
    counts = {mark: [line.count(mark) for line in lines] for mark in ",;\t|"}
    return max(counts, key=lambda mark: (min(counts[mark], default=0) > 0, sum(counts[mark])))
