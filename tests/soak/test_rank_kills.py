"""Four ranks, of which one is lost again and again: the end is that of the undisturbed run, byte for byte."""

import json
import random
import signal

import numpy as np
import pytest
import zarr

import killing
from killing import exists
from rank_runs import kill_inside_a_collective, newest_checkpoint, running, simulate_tomograms, train_command

pytestmark = [pytest.mark.soak, pytest.mark.needs("horovod")]


@pytest.fixture(scope="module")
def tomograms(tmp_path_factory):
    return simulate_tomograms(tmp_path_factory.mktemp("tomograms"), 6)


def command(tomograms, run, ranks=4):
    return train_command(tomograms, run, ranks, iterations=2)


def results(run):
    """The models, and the sub-tomograms that the ranks predicted."""
    paths = [*run.glob("results/*.h5"), *run.glob("iterations/*/predicted/*/c/**/*")]
    return {str(path.relative_to(run)): path.read_bytes() for path in paths if path.is_file()}


@pytest.fixture(scope="module")
def undisturbed(tomograms, tmp_path_factory):
    run = tmp_path_factory.mktemp("undisturbed") / "run"
    killing.run_well(command(tomograms, run))
    found = results(run)
    assert len(found) == 2 + 6
    return found


def kill_while_the_checkpoint_is_written(training, writer, partial):
    """The writer is stopped as soon as the file is seen, and killed if the file is still there."""
    while True:
        training.wait_for(partial)
        writer.suspend()
        if partial():
            writer.kill()
            return
        writer.resume()


def test_five_ranks_lost(tomograms, undisturbed, tmp_path):
    run, draw = tmp_path / "run", random.Random(5)
    first, second = run / "iterations/01", run / "iterations/02"
    log = run / "logs/ranks_01.log"
    moments = {
        "before a checkpoint": lambda: log.exists() and "TrainingStep" in log.read_text(),
        "inside a collective": exists(first, "checkpoint/*.h5"),
        "checkpoint": exists(first, "checkpoint/*.h5", 2),
        "prediction": exists(first, "predicted/*.partial-*"),
        "second iteration": exists(second, "checkpoint/*.h5"),
    }
    partial = exists(first, "checkpoint/*.partial-*")
    for name, moment in moments.items():
        with running(command(tomograms, run), tmp_path / "output") as training:
            training.wait_for(moment)
            rank = 0 if name == "checkpoint" else draw.choice(sorted(training.ranks()))
            if name == "inside a collective":
                kill_inside_a_collective(training, rank)
            elif name == "checkpoint":
                kill_while_the_checkpoint_is_written(training, training.ranks()[0], partial)
            else:
                training.ranks()[rank].kill()
            assert training.end() == 70, name
            assert f"rank {rank} of 4 was killed by SIGKILL" in training.output(), name
            assert "Traceback" not in training.output(), name
        found = newest_checkpoint(run)
        assert (found is None) == (name == "before a checkpoint")
    killing.run_well(command(tomograms, run))
    assert results(run) == undisturbed
    assert not killing.partials(run)


def test_another_number_of_ranks_goes_on_and_says_so(tomograms, undisturbed, tmp_path):
    run = tmp_path / "run"
    for ranks, count in ((4, 1), (2, 3)):
        with running(command(tomograms, run, ranks), tmp_path / "output") as training:
            training.wait_for(exists(run, f"iterations/01/checkpoint/step_{10 * count:08d}.h5"))
            training.process.send_signal(signal.SIGTERM)
            assert training.end() == 85
    killing.run_well(command(tomograms, run, ranks=1))
    notices = [event["text"] for line in (run / "events.jsonl").open() if "text" in (event := json.loads(line))]
    assert any("4 ranks did the steps before, 2 do the rest" in text for text in notices)
    assert any("2 ranks did the steps before, 1 do the rest" in text for text in notices)
    for name, expected in undisturbed.items():
        assert len(results(run)[name]) == len(expected)


@pytest.mark.parametrize("damage", ["nan", "unreadable"])
def test_what_one_rank_meets_in_its_input_stops_all(tomograms, tmp_path, damage):
    run = tmp_path / "run"
    arguments = train_command(tomograms, run, ranks=2)
    with running(arguments, tmp_path / "output") as training:
        training.wait_for(exists(run, "iterations/01/checkpoint/*.h5"))
        training.process.send_signal(signal.SIGTERM)
        assert training.end() == 85
    [shard] = (path for path in run.glob("iterations/01/pairs/t1.zarr/c/**/*") if path.is_file())
    size = shard.stat().st_size
    if damage == "nan":
        zarr.open(run / "iterations/01/pairs/t1.zarr", mode="r+")[1, 0] = np.nan
    else:
        shard.write_bytes(bytes(size))
    assert shard.stat().st_size == size
    with running(arguments, tmp_path / "output") as training:
        training.wait_for(lambda: training.ranks() != {})
        code = training.end()
        output = training.output()
    assert code == {"nan": 70, "unreadable": 2}[damage]
    if damage == "nan":
        assert "the loss or its gradient is not a number in step" in output and "t1/1/" in output
    else:
        assert "ended with exit code" in output and "t1.zarr" in output
    assert "@event" not in output
    assert newest_checkpoint(run) is not None
