"""`train --group`: one group of a list is the whole cohort of a run."""

from pathlib import Path

import numpy as np
import pytest

from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.star import TomogramRow, write_tomogram_list
from mwr_hpc.pipeline.starting import read_cohort


def test_the_other_groups_are_not_even_opened(tmp_path: Path) -> None:
    with MrcWriter(tmp_path / "a.mrc", (16, 16, 16), np.int8) as writer:
        writer.write(0, np.ones((16, 16, 16), np.int8))
    rows = [TomogramRow(tmp_path / "a.mrc", "a", group="here"), TomogramRow(tmp_path / "gone.mrc", "b", group="there")]
    write_tomogram_list(tmp_path / "list.star", rows)
    sizes = {"cube_size": 8, "crop_size": 16}
    cohort = read_cohort(TrainSettings(tomograms=tmp_path / "list.star", group="here", **sizes))
    assert ([entry.id for entry in cohort.entries], cohort.problems) == (["a"], {})
    with pytest.raises(InputError, match=r"gone\.mrc"):
        read_cohort(TrainSettings(tomograms=tmp_path / "list.star", group="there", **sizes))
    with pytest.raises(InputError, match="found the groups here, there"):
        read_cohort(TrainSettings(tomograms=tmp_path / "list.star", group="nowhere", **sizes))
