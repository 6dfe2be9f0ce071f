"""`train --group`: one group of a list is the whole cohort of a run, and all of them together are warned of."""

from pathlib import Path

import numpy as np
import pytest

from commanding import SMALLEST
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.errors import InputError, StopRequested
from mwr_hpc.events import Event, Notice
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.star import TomogramRow, write_tomogram_list
from mwr_hpc.pipeline.coordinator import train
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


@pytest.mark.parametrize(("group", "warned"), [(None, True), ("here", False)])
def test_what_does_not_fit_together_is_warned_of(group: str | None, warned: bool, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(24, 24, 24)).astype(np.float32)
    for name, voxel_size in (("a", 10.0), ("b", 5.0)):
        with MrcWriter(tmp_path / f"{name}.mrc", noise.shape, np.float32, voxel_size=voxel_size) as writer:
            writer.write(0, noise)
    rows = [TomogramRow(tmp_path / "a.mrc", "a", group="here"), TomogramRow(tmp_path / "b.mrc", "b", group="there")]
    write_tomogram_list(tmp_path / "list.star", rows)
    told: list[Event] = []
    settings = SMALLEST | {"tomograms": tmp_path / "list.star", "group": group, "run_dir": tmp_path / "run"}
    with pytest.raises(StopRequested):
        train(TrainSettings(**settings), told.append, lambda: True)
    warnings = [event.text for event in told if isinstance(event, Notice) and event.warning]
    assert warned == any("different voxel sizes (5 A: b; 10 A: a)" in text for text in warnings)
