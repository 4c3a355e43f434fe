"""A context refuses data frames, with a message that names the cure."""

import pytest

from flows.errors import UnsupportedValue
from flows.state.values import own


@pytest.mark.parametrize("module", ["pandas.core.frame", "polars.dataframe.frame", "pyarrow.lib"])
def test_a_data_frame_is_refused_with_what_to_do(module: str) -> None:
    frame = type("DataFrame", (), {"__module__": module})()
    with pytest.raises(UnsupportedValue, match=r"is a table .* write it to Parquet .* or return plain rows"):
        own(frame)
