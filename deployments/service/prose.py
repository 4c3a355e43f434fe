"""The text of passages as HTML: paragraphs, headings, tables, code and lists, with marked matches."""

import re
from collections.abc import Collection, Iterator, Sequence

from markupsafe import Markup, escape

from handlers.retrieval import highlights
from handlers.text import terms

_BLOCK = re.compile(r"(?:[^\n]*\S[^\n]*(?:\n|$))+")
_HEADING = re.compile(r"(#{1,6})\s+(.*)")
_RULE = re.compile(r"\|?[\s:|-]+\|?")
_ITEM = re.compile(r"\s*(?:[-*•]|\d+[.)])\s+")
_FENCE = "```"


def wanted_terms(*texts: str) -> set[str]:
    """The terms to mark: those of a question, its rewritings, and names."""
    return {term for text in texts for term in terms(text)}


def marked(text: str, wanted: Collection[str]) -> Markup:
    """The text with every match of one of the terms in `<mark>`."""
    parts: list[Markup | str] = []
    end = 0
    for start, stop in highlights(text, wanted) if wanted else ():
        parts += [escape(text[end:start]), Markup("<mark>"), escape(text[start:stop]), Markup("</mark>")]
        end = stop
    return Markup("").join([*parts, escape(text[end:])])


def prose(text: str, wanted: Collection[str] = ()) -> Markup:
    """The passage as HTML; HTML inside the text is escaped."""
    return Markup("\n").join(_blocks(text, wanted))


def table(text: str, wanted: Collection[str] = ()) -> Markup:
    """A Markdown table as HTML; any other text unchanged."""
    lines = [line for line in text.strip().splitlines() if line.strip()]
    if len(lines) < 2 or not all("|" in line for line in lines) or not _RULE.fullmatch(lines[1].strip()):
        return Markup("<pre>{}</pre>").format(marked(text, wanted))
    head, *rows = [_cells(line) for number, line in enumerate(lines) if number != 1]
    body = [_row(row, "td", wanted) for row in rows]
    return Markup("<table><thead>{}</thead><tbody>{}</tbody></table>").format(
        _row(head, "th", wanted), Markup("").join(body)
    )


def _blocks(text: str, wanted: Collection[str]) -> Iterator[Markup]:
    for match in _BLOCK.finditer(text):
        block = match.group().strip("\n")
        heading = _HEADING.match(block)
        if heading:
            first, _, rest = block.partition("\n")
            level = "h2" if len(heading[1]) < 3 else "h3"
            yield Markup(f"<{level}>{{}}</{level}>").format(marked(_HEADING.sub(r"\2", first), wanted))
            if rest.strip():
                yield from _blocks(rest, wanted)
        elif block.lstrip().startswith("|"):
            yield table(block, wanted)
        elif block.lstrip().startswith(_FENCE) or all(line.startswith(("    ", "\t")) for line in block.splitlines()):
            yield Markup("<pre>{}</pre>").format(marked(block.strip("`\n"), wanted))
        elif _ITEM.match(block) and all(_ITEM.match(line) or line.startswith(" ") for line in block.splitlines()):
            items = [marked(_ITEM.sub("", item, count=1), wanted) for item in _items(block)]
            yield Markup("<ul>{}</ul>").format(Markup("").join(Markup("<li>{}</li>").format(each) for each in items))
        else:
            yield Markup("<p>{}</p>").format(marked(block, wanted))


def _items(block: str) -> list[str]:
    items: list[str] = []
    for line in block.splitlines():
        if _ITEM.match(line) or not items:
            items.append(line)
        else:
            items[-1] += f" {line.strip()}"
    return items


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def _row(cells: Sequence[str], name: str, wanted: Collection[str]) -> Markup:
    shown = [Markup("<{0}>{1}</{0}>").format(Markup(name if cell else "td"), marked(cell, wanted)) for cell in cells]
    return Markup("<tr>{}</tr>").format(Markup("").join(shown))
