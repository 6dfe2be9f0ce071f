"""A bit that flips in something stored: it is said, the array is made again, and the models are what they would be."""

import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import h5py
import pytest

from commanding import SMALLEST, volume
from mwr_hpc.cluster.pool import InlinePool
from mwr_hpc.config.loading import resolve
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.errors import DamagedArrayError, StageError, StopRequested
from mwr_hpc.events import EpochFinished, Event, Notice, StageFinished, UnitFinished, never
from mwr_hpc.pipeline import backend
from mwr_hpc.pipeline.coordinator import train

SETTINGS = {**SMALLEST, "iterations": 2, "epochs": 2, "steps_per_epoch": 2, "tilt_range": (-50, 60)}
STATES: dict[str, Callable[[Event], bool]] = {
    "predicted": lambda event: isinstance(event, StageFinished) and event.stage == "predicted_01",
    "paired": lambda event: isinstance(event, StageFinished) and event.stage == "pairs_02",
    "half trained": lambda event: isinstance(event, EpochFinished) and event.iteration == 2,
}
"""When a run is stopped in its second iteration."""


@pytest.fixture(scope="module", autouse=True)
def _in_this_process():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "local_pool", lambda workers: nullcontext(InlinePool()))
        yield


def go_on(run: Path, reached: Callable[[Event], bool] | None = None) -> list[Event]:
    """Go on with a run beside its tomograms, to its end or to a stop; return the events."""
    events: list[Event] = []
    values = {**SETTINGS, "input_dir": run.parent / "in", "run_dir": run}
    settings = resolve(TrainSettings, values, environment={}).settings
    if reached is None:
        train(settings, events.append, never)
    else:
        with pytest.raises(StopRequested):
            train(settings, events.append, lambda: any(map(reached, events)))
    return events


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Path:
    """A folder with the tomograms, the run in each of the states, and the one that was never stopped."""
    place = tmp_path_factory.mktemp("stopped")
    for number in range(2):
        volume(place / f"in/t{number}.mrc", seed=number)
    for state, reached in STATES.items():
        go_on(place / "undisturbed", reached)
        shutil.copytree(place / "undisturbed", place / state)
    go_on(place / "undisturbed")
    return place


@pytest.fixture
def copy(stopped):
    def copied(state: str) -> Path:
        run = stopped / f"copy of {state}"
        shutil.rmtree(run, ignore_errors=True)
        return Path(shutil.copytree(stopped / state, run))

    return copied


def flip_a_bit(folder: Path, pattern: str, at: int = 20) -> None:
    """Change a bit in the first file that matches: where nothing else is said in what is read first, its first cube."""
    path = sorted(path for path in folder.glob(pattern) if path.is_file())[0]
    content = bytearray(path.read_bytes())
    content[at] ^= 4
    path.write_bytes(content)


def models(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.glob("results/*.h5")}


def warnings(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Notice) and event.warning]


DAMAGE = {
    "sub-tomograms": ("predicted", ["subtomograms/t0.zarr/c/**/*"], ["extract"]),
    "sub-tomograms' tables": ("predicted", ["subtomograms/t0.zarr/zarr.json"], ["extract"]),
    "predicted": ("predicted", ["iterations/01/predicted/t1.zarr/c/**/*"], ["predicted_01"]),
    "tomogram": (
        "predicted",
        ["subtomograms/t0.zarr/c/**/*", "tomograms/t0.ome.zarr/0/c/**/*"],
        ["extract", "convert"],
    ),
    "pairs": ("paired", ["iterations/02/pairs/t0.zarr/c/**/*"], ["pairs_02"]),
    "all pairs": (
        "half trained",
        ["iterations/02/pairs/t0.*/c/**/*", "iterations/02/pairs/t1.*/c/**/*"],
        ["pairs_02", "pairs_02"],
    ),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_damaged_array_is_made_again_and_the_models_stay_the_same(stopped, copy, kind):
    state, files, makers = DAMAGE[kind]
    run = copy(state)
    for pattern in files:
        flip_a_bit(run, pattern)
    events = go_on(run)
    said = warnings(events)
    assert [text.rpartition("; ")[2] for text in said] == [f"{stage} makes it again" for stage in makers]
    assert all(str(run) in text for text in said)
    assert models(run) == models(stopped / "undisturbed")
    done = [(event.stage, event.name) for event in events if isinstance(event, UnitFinished)]
    assert len(done) == len(set(done))
    assert not list(run.rglob("*.partial-*")) and not (run / "receipts/quarantine").exists()


def test_a_damaged_checkpoint_is_passed_over(stopped, copy):
    run = copy("half trained")
    newest = max(run.glob("iterations/02/checkpoint/*.h5"))
    with h5py.File(newest) as file:
        place = file["weights/0000"].id.get_offset()
    flip_a_bit(newest.parent, newest.name, at=place)
    assert any("damaged" in text for text in warnings(go_on(run)))
    assert models(run) == models(stopped / "undisturbed")


def test_storage_that_does_not_keep_what_is_written_stops_the_run(copy, monkeypatch):
    from mwr_hpc.missing_wedge import cube_arrays

    run = copy("paired")
    monkeypatch.setattr(cube_arrays, "is_whole", lambda stored: False)
    with pytest.raises(StageError, match=r"t0\.zarr: damaged again after it was made again"):
        go_on(run)
    assert not (run / "receipts/quarantine").exists()


def test_damage_that_a_worker_or_a_rank_finds_travels():
    import pickle

    error = pickle.loads(pickle.dumps(DamagedArrayError(Path("a.zarr"), "broken")))
    assert (error.path, error.what, error.exit_code) == (Path("a.zarr"), "broken", 2)
