"""A thousand tiny tomograms, thirty of them broken in ten ways: the others are done, at next to no cost for each.

What counts as a unit's cost beyond the work itself: of time, the processor seconds of the coordinating process, which
does none of the work, during the stage; of memory, what that process grows by. Seconds on the clock are printed too,
less those that the units took by their receipts: they hold the disk's answers to synchronising, and depend on the load.
"""

import json
import struct
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from commanding import SMALLEST, damaged_volume, volume
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.events import Event, StageFinished, StageStarted, never
from mwr_hpc.pipeline.coordinator import train
from mwr_hpc.pipeline.receipts import ReceiptBook

pytestmark = pytest.mark.soak

TOMOGRAMS, OF_EACH = 1000, 3
SHAPE = (16, 24, 24)
SECONDS, BYTES, FILES = 0.010, 20_000, 20


def header_with(path: Path, offset: int, *values: int) -> None:
    volume(path, shape=SHAPE)
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(struct.pack(f"<{len(values)}i", *values))


def resized(path: Path, change: int) -> None:
    content = volume(path, shape=SHAPE).read_bytes()
    path.write_bytes(content[:change] if change < 0 else content + bytes(change))


BROKEN = {
    "empty": (lambda path: path.touch(), "0 bytes"),
    "text": (lambda path: path.write_text("no volume " * 200), "not an MRC file"),
    "truncated": (lambda path: resized(path, -100), "truncated"),
    "long": (lambda path: resized(path, 4), "too long"),
    "negative": (lambda path: header_with(path, 0, -24, 24, 16), "at least 1"),
    "mode": (lambda path: header_with(path, 12, 99), "mode"),
    "image": (lambda path: volume(path, shape=(1, 24, 24)), "image"),
    "nan": (lambda path: damaged_volume(path, np.nan), "nan"),
    "infinite": (lambda path: damaged_volume(path, np.inf), "inf"),
    "constant": (lambda path: volume(path, np.full(SHAPE, 7, np.float32)), "the value 7"),
}


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cohort")
    good = TOMOGRAMS - OF_EACH * len(BROKEN)
    for number in range(good):
        volume(folder / f"t{number:04d}.mrc", shape=SHAPE, seed=number)
    for kind, (make, _) in BROKEN.items():
        for number in range(OF_EACH):
            make(folder / f"{kind}{number}.mrc")
    return folder


def test_a_thousand_tomograms(cohort: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    settings = TrainSettings(**SMALLEST | {"input_dir": cohort, "run_dir": run, "iterations": 2})
    process = psutil.Process()
    grown: dict[str, int] = {}
    spent: dict[str, float] = {}
    seconds: dict[str, float] = {}

    def observe(event: Event) -> None:
        if isinstance(event, StageStarted):
            grown[event.stage] = -process.memory_info().rss
            spent[event.stage] = -time.process_time()
        elif isinstance(event, StageFinished):
            grown[event.stage] += process.memory_info().rss
            spent[event.stage] += time.process_time()
            seconds[event.stage] = event.seconds

    outcome = train(settings, observe, never)

    good = TOMOGRAMS - OF_EACH * len(BROKEN)
    assert outcome.exit_code == 1
    assert sorted(outcome.failed) == sorted(f"{kind}{number}" for kind in BROKEN for number in range(OF_EACH))
    for name, reason in outcome.failed.items():
        assert BROKEN[name[:-1]][1] in reason and name in reason, reason
    for stage in ("convert", "extract", "pairs_02"):
        done = [json.loads(line) for line in (run / "receipts" / f"{stage}.jsonl").read_text().splitlines()]
        assert len(done) == good
        waited = (seconds[stage] - sum(one["seconds"] for one in done)) / good
        cost, size = spent[stage] / good, grown[stage] / good
        text = f"{1e3 * cost:.1f} ms of processor and {size / 1e3:.1f} kB a unit, {1e3 * waited:.1f} ms on the clock"
        print(f"{stage}: {text}")
        assert cost < SECONDS
        assert size < BYTES
    files = sum(path.is_file() for path in run.rglob("*"))
    print(f"{files / good:.1f} files per tomogram")
    assert files / good <= FILES
    assert len(ReceiptBook(run / "receipts").get("train", "02").figures) > 0
