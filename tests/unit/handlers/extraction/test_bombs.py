"""Files that nest, repeat, loop or unpack without end are read or refused with a reason."""

import pytest

from handlers.extraction import Unreadable, to_document
from handlers.extraction.registry import FORMATS, mime_type_of
from handlers.records import SourceFile
from tests.support.document_bombs import BOMBS

SHARE = 0.01
"""Of the full size, which `python -m bench.bombs` has."""


@pytest.mark.parametrize("name", BOMBS)
def test_a_small_bomb_is_text_or_has_a_reason(name: str):
    data = BOMBS[name](SHARE)
    try:
        text = to_document(SourceFile(name, name, len(data)), data, cpu_s=10.0).text
    except Unreadable as reason:
        assert "does not expect" not in str(reason)
    else:
        assert len(text) <= max(10_000_000, 200 * len(data))


def test_there_is_a_bomb_for_nearly_every_format():
    tried = {mime_type_of(name) for name in BOMBS}
    assert {each.name for each in FORMATS if each.mime_type not in tried} <= {
        "PPT",
        "ODP",
        "Outlook mail",
        "TSV",
        "settings",
    }
