"""What a unit needed at most is not what the one before it needed."""

import numpy as np
import pytest

from mwr_hpc.pipeline import resident_memory
from mwr_hpc.pipeline.resident_memory import forget_peak, peak_memory

MEGABYTE = 2**20


def test_the_peak_is_told_and_forgotten() -> None:
    forget_peak()
    before = peak_memory()
    block = np.ones(200 * MEGABYTE, np.uint8)
    assert 180 * MEGABYTE < peak_memory() - before < 260 * MEGABYTE
    del block
    assert peak_memory() - before > 180 * MEGABYTE
    forget_peak()
    assert peak_memory() - before < 60 * MEGABYTE


def test_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    monkeypatch.setattr(resident_memory, "_PROCESS", tmp_path / "none")
    forget_peak()
    assert peak_memory() > 10 * MEGABYTE
