"""Shares of a sweep: each unit is in one of them, and who would work on another's units is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mwr_hpc.errors import ConfigError
from mwr_hpc.events import ignore, never
from mwr_hpc.pipeline.sweep import Share, locked


@given(st.integers(0, 50), st.integers(1, 9))
def test_shares_are_disjoint_and_complete(units: int, number: int):
    parts = [Share(index, number).of(range(units)) for index in range(number)]
    assert sorted(unit for part in parts for unit in part) == list(range(units))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_a_share_is_read_and_names_its_own_files():
    assert Share.parse(None) is None
    assert Share.parse("2/8") == Share(2, 8)
    assert Share(2, 8).file("events.jsonl") == "events_2_of_8.jsonl"


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        (Share(0, 2), Share(1, 2), True),
        (Share(0, 2), Share(0, 2), False),
        (Share(0, 2), Share(1, 3), False),
        (Share(0, 2), None, False),
        (None, Share(0, 2), False),
        (None, None, False),
    ],
)
def test_only_shares_of_one_whole_go_on_side_by_side(tmp_path, one, other, together):
    with locked(tmp_path, one, ignore, never):
        if together:
            with locked(tmp_path, other, ignore, never):
                pass
        else:
            with pytest.raises(ConfigError, match="held by another"), locked(tmp_path, other, ignore, never):
                pass
    with locked(tmp_path, other, ignore, never):  # whoever was refused holds nothing afterwards
        pass
