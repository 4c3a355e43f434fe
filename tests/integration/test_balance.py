"""Every object of every source has exactly one outcome, whatever the disk holds and in whichever order it is ingested."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.identities import STORES, settings_for
from tests.support.profiles import scaled
from tests.support.trees import Tree, check_tree

Option = TypeVar("Option")


class Drawn:
    """Chance that hypothesis can replay and shrink."""

    def __init__(self, data: st.DataObject) -> None:
        self._data = data

    def choice(self, options: Sequence[Option]) -> Option:
        return options[self._data.draw(st.integers(0, len(options) - 1))]


@pytest.mark.parametrize("kind", STORES)
@pytest.mark.slow
@given(data=st.data())
@settings(
    max_examples=scaled(2),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
def test_balances_are_exact_nothing_is_overwritten_nothing_flaps(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, data: st.DataObject
) -> None:
    folder = Path(tempfile.mkdtemp(dir=tmp_path))
    tree = Tree(folder / "in", Drawn(data))
    try:
        check_tree(
            tree,
            settings_for(kind, request, folder / "kept"),
            settings_for("memory", request, folder / "fresh"),
            files=12,
            changes=3,
        )
    finally:
        tree.open_again()
