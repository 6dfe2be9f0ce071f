"""`status --verify` names whatever is not as it was written, and nothing else."""

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from commanding import SHORT_TRAINING, run, volume
from mwr_hpc.cluster.pool import InlinePool
from mwr_hpc.pipeline import backend, conversion


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        for module in (backend, conversion):
            patch.setattr(module, "local_pool", lambda workers: nullcontext(InlinePool()))
        for number in range(2):
            volume(place / f"in/t{number}.mrc", seed=number)
        command = ["train", "--input_dir", place / "in", "--run_dir", place / "run", *SHORT_TRAINING]
        assert run(*command, "--tilt_range", -50, 60).code == 0
        assert run("convert", place / "in", "--out", place / "out").code == 0
    return place


PLACES = [
    "run/tomograms/t0.ome.zarr/0/c/0/0/0",
    "run/tomograms/t0.ome.zarr/0/zarr.json",
    "run/subtomograms/t1.zarr/c/0/0/0/0",
    "run/iterations/01/pairs/t0.zarr/zarr.json",
    "run/results/model_iter01.h5",
    "out/t0.ome.zarr/0/c/0/0/0",
]


@pytest.mark.parametrize("place", PLACES)
def test_what_is_damaged_is_named_and_ends_with_1(finished, place):
    folder = finished / place.partition("/")[0]
    assert run("status", folder, "--verify").code == 0
    path = finished / place
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    try:
        ended = run("status", folder, "--verify", "--json")
        assert run("status", folder).code == 0
    finally:
        path.write_bytes(content)
    assert ended.code == 1
    (damaged,) = json.loads(ended.out)["verified"]["damaged"]
    assert path.is_relative_to(damaged) and (Path(damaged) == path or Path(damaged).suffix == ".zarr")


def test_a_missing_shard_and_a_half_checkpoint_are_named(finished):
    shard = finished / "run/subtomograms/t0.zarr/c/0/0/0/0"
    (checkpoint,) = finished.glob("run/iterations/01/checkpoint/*.h5")
    kept = shard.read_bytes(), checkpoint.read_bytes()
    shard.unlink()
    checkpoint.write_bytes(kept[1][:-500])
    try:
        ended = run("status", finished / "run", "--verify")
    finally:
        shard.write_bytes(kept[0])
        checkpoint.write_bytes(kept[1])
    assert ended.code == 1
    lines = [line for line in ended.out.splitlines() if line.startswith("damaged: ")]
    assert len(lines) == 2 and "subtomograms/t0.zarr: 1 files" in ended.out and checkpoint.name in ended.out
    assert "6 of 8 arrays and files are as they were written" in ended.out
