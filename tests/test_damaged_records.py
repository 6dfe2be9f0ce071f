"""Records of a run as a crash leaves them: named, never a traceback, and the models stay what they were."""

import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from commanding import SHORT_TRAINING, damaged_volume, run, volume
from mwr_hpc.cluster.pool import InlinePool
from mwr_hpc.pipeline import backend

TRAIN = ["train", "--input_dir", "in", "--run_dir", "run", *SHORT_TRAINING]
RECORDS = [
    "events.jsonl",
    "unusable.json",
    "untrained.json",
    "config.yaml",
    "tomograms.star",
    "receipts/extract.jsonl",
    "receipts/train.jsonl",
    "receipts/quarantine/broken.json",
    "tomograms/a.ome.zarr/receipt.json",
    "iterations/01/pairs/a.zarr/receipt.json",
    "iterations/01/curves.jsonl",
]
MODEL = Path("run/results/model_iter01.h5")

Damage = Callable[[bytes], bytes]


def damages() -> st.SearchStrategy[Damage]:
    """Cut, emptied, full of NULs from somewhere on, or with random bytes somewhere."""
    where = st.floats(0, 1, exclude_max=True)

    def cut(share: float) -> Damage:
        return lambda content: content[: int(share * len(content))]

    def zeroed(share: float) -> Damage:
        return lambda content: cut(share)(content).ljust(len(content), b"\0")

    def overwritten(share: float, by: bytes) -> Damage:
        return lambda content: (kept := cut(share)(content)) + by + content[len(kept) + len(by) :]

    return st.one_of(
        st.sampled_from([cut(0), zeroed(0)]),
        where.map(cut),
        where.map(zeroed),
        st.builds(overwritten, where, st.binary(min_size=1, max_size=8)),
    )


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small finished run, one of whose tomograms cannot be used."""
    folder = tmp_path_factory.mktemp("records")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(backend, "local_pool", lambda workers: nullcontext(InlinePool()))
        for seed, name in enumerate("ab"):
            volume(f"in/{name}.mrc", seed=seed)
        damaged_volume("in/broken.mrc", np.nan)
        assert run(*TRAIN).code == 1
        shutil.copytree("run", "sound")
        yield folder


@pytest.mark.parametrize("record", RECORDS)
@settings(max_examples=4, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(damage=damages())
def test_a_damaged_record_is_named_or_does_no_harm(finished: Path, record: str, damage: Damage) -> None:
    shutil.rmtree("run")
    shutil.copytree("sound", "run")
    path = Path("run", record)
    model = MODEL.read_bytes()
    path.write_bytes(damage(path.read_bytes()))
    status = run("status", "run")
    assert status.code == 0, status
    ended = run(*TRAIN)
    assert "Traceback" not in ended.err + status.err
    if ended.code == 1:
        assert MODEL.read_bytes() == model
        assert "Failed and left out: 1\n  broken: convert: " in ended.err, ended
    else:
        assert ended.code == 2 and str(path) in ended.err, ended


@pytest.mark.parametrize("record", [name for name in RECORDS if name != "tomograms.star"])
def test_an_empty_record_is_named(finished: Path, record: str) -> None:
    shutil.rmtree("run")
    shutil.copytree("sound", "run")
    os.truncate(Path("run", record), 0)
    said = run("status", "run").out + run(*TRAIN).err
    if "pairs" not in record:  # of a finished iteration nobody reads them
        assert record in said
        assert "Traceback" not in said


def test_a_model_whose_receipt_is_lost_is_known_by_its_own_checksum(finished: Path) -> None:
    shutil.rmtree("run")
    shutil.copytree("sound", "run")
    Path("run/receipts/train.jsonl").write_bytes(b"\0" * 50)
    time = MODEL.stat().st_mtime_ns
    ended = run(*TRAIN)
    assert ended.code == 1 and "model_iter01.h5 are damaged; written anew" in ended.err, ended
    assert MODEL.stat().st_mtime_ns == time
    assert "damaged" not in run(*TRAIN).err
    Path("run/receipts/train.jsonl").write_bytes(b"")
    with MODEL.open("r+b") as stream:
        stream.seek(-200, 2)
        stream.write(b"\xff" * 100)
    ended = run(*TRAIN)
    assert ended.code == 2 and "receipts" in ended.err and "move it away" in ended.err, ended
    MODEL.unlink()
    ended = run(*TRAIN)
    assert ended.code == 1 and MODEL.read_bytes() == Path("sound/results/model_iter01.h5").read_bytes(), ended


def test_where_a_run_went_back_to(finished: Path) -> None:
    shutil.rmtree("run")
    shutil.copytree("sound", "run")
    Path("run/continued_from.json").write_bytes(b"\0\0")
    ended = run(*TRAIN, "--continue_iter", 1, "--iterations", 2)
    assert ended.code == 2 and "continued_from.json: damaged" in ended.err, ended
