"""The standard library's parser of HTML, made to accept every page as browsers do."""

from html.parser import HTMLParser


class TolerantHTMLParser(HTMLParser):
    """Reads `<![…` without a known keyword as a comment, where the parser of older Pythons fails."""

    def parse_marked_section(self, i: int, report: bool = True) -> int:
        try:
            return super().parse_marked_section(i, report)
        except AssertionError:
            return self.parse_bogus_comment(i)
