"""What changes after the training: said with exit code 1 and the two ways on, and both ways lead where they promise."""

import json
import os
import shlex
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from commanding import SHORT_TRAINING, Ended, damaged_volume, run, small_model, volume
from mwr_hpc.cli.running import settings_from
from mwr_hpc.cli.train import _report_untrained
from mwr_hpc.cli.words import WordReader
from mwr_hpc.cluster.pool import InlinePool
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.pipeline import backend
from mwr_hpc.run_directory import RunDirectory
from mwr_hpc.training.model_file import read_description

TRAIN = ["train", "--input_dir", "in", "--run_dir", "run", *SHORT_TRAINING]
HEADING = "Not as in the training of the newest model: "
MODEL = Path("run/results/model_iter01.h5")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder with three tomograms; work is done in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend, "local_pool", lambda workers: nullcontext(InlinePool()))
    for seed, name in enumerate("abc"):
        volume(f"in/{name}.mrc", seed=seed)


def listed(ended: Ended) -> dict[str, str]:
    """What the end of a command says of the newest model, by tomogram."""
    lines = ended.err.partition(HEADING)[2].splitlines()
    number = int(lines[0]) if lines else 0
    return dict(line.strip().split(": ", 1) for line in lines[1 : number + 1])


def commands(ended: Ended) -> list[list[str]]:
    """The command lines that are offered."""
    return [shlex.split(line)[1:] for line in ended.err.splitlines() if line.startswith("  mwr-hpc train ")]


def tomograms(model: str) -> list[str]:
    return read_description(Path(model))["training_set"]["tomograms"]


def test_repaired_replaced_added_and_removed_tomograms() -> None:
    damaged_volume("in/broken.mrc", np.nan)
    ended = run(*TRAIN)
    assert ended.code == 1 and not listed(ended)
    model = MODEL.read_bytes()
    volume("in/broken.mrc", seed=7)
    volume("in/a.mrc", seed=8)
    volume("in/added.mrc", seed=9)
    os.remove("in/c.mrc")
    for _ in range(2):
        ended = run(*TRAIN)
        assert ended.code == 1 and "Failed" not in ended.err, ended
        assert {name: why.split(" ", 1)[1][:26] for name, why in listed(ended).items()} == {
            "a": "was trained on another ver",
            "broken": "was trained without it",
            "added": "was trained without it",
            "c": "was trained on it, and it ",
        }
        assert MODEL.read_bytes() == model
        assert json.loads(run("status", "run", "--json").out)["untrained"] == listed(ended)
    assert "not as in the newest model: added: model_iter01.h5 was trained without it" in run("status", "run").out
    on, anew = commands(ended)
    assert run(*anew).code == 0
    assert tomograms("run_2/results/model_iter01.h5") == ["a", "added", "b", "broken"]
    ended = run(*on)
    assert ended.code == 0 and not listed(ended), ended
    assert tomograms("run/results/model_iter02.h5") == ["a", "added", "b", "broken"]
    assert json.loads(run("status", "run", "--json").out)["untrained"] == {}


def test_a_later_iteration_and_a_mask() -> None:
    for name in "abc":
        volume(f"masks/{name}.mrc", np.ones((16, 24, 24), np.int8))
    words = [*TRAIN, "--mask_dir", "masks", "--iterations", "2"]
    assert run(*words).code == 0
    assert run(*words).code == 0
    mask = np.ones((16, 24, 24), np.int8)
    mask[:, :, :12] = 0
    volume("masks/b.mrc", mask)
    ended = run(*words)
    assert ended.code == 1 and list(listed(ended)) == ["b"] and "--continue_iter" in ended.err
    ended = run(*words, "--continue_iter", 1)
    assert ended.code == 0 and not listed(ended), ended
    shutil.rmtree("run/iterations/02/pairs")  # without them nothing is proved but by name
    volume("in/a.mrc", seed=4)
    os.remove("in/c.mrc")
    assert list(listed(run(*words))) == ["c"]


def test_noise_volumes_that_were_made_anew() -> None:
    noise = ["generate-noise", "--number", 1, "--cube_size", 8]
    assert run(*noise, "--out", "noise").code == 0
    words = [*TRAIN, "--noise_dir", "noise", "--noise_level", "0.1", "--noise_start_iter", "1"]
    assert run(*words).code == 0
    shutil.rmtree("noise")
    assert run(*noise, "--out", "noise", "--seed", 5).code == 0
    ended = run(*words)
    assert ended.code == 1 and [name.endswith("noise") for name in listed(ended)] == [True], ended


def test_corrections_follow_their_tomogram_and_model() -> None:
    """Nothing has to be said here: what differs is corrected again."""
    small_model("model.h5")
    words = ["predict", "model.h5", "in", "--out", "out"]
    assert run(*words).code == 0
    before = Path("out/a_corrected.mrc").read_bytes(), Path("out/b_corrected.mrc").stat().st_mtime_ns
    volume("in/a.mrc", seed=11)
    assert run(*words).code == 0
    assert Path("out/a_corrected.mrc").read_bytes() != before[0]
    assert Path("out/b_corrected.mrc").stat().st_mtime_ns == before[1]
    shutil.copy(MODEL, "model.h5") if MODEL.exists() else small_model("model.h5", filter_base=4)
    assert run(*words).code == 0
    assert Path("out/b_corrected.mrc").stat().st_mtime_ns != before[1]


def test_the_commands_that_are_offered_work_for_a_run_that_was_given_hours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ["--input_dir", "in", "--hours", "8", "--run_dir", "run"]
    paths = RunDirectory(Path("run").absolute())
    for iteration in (1, 12):
        paths.model(iteration).parent.mkdir(parents=True, exist_ok=True)
        paths.model(iteration).touch()
    settings = settings_from(TrainSettings, WordReader(TrainSettings, words, has_json=False).read())
    _report_untrained({"a": "model_iter12.h5 was trained without it"}, settings, words, paths)
    on, anew = commands(Ended(0, "", capsys.readouterr().err))
    read = [
        settings_from(TrainSettings, WordReader(TrainSettings, line[1:], has_json=False).read()) for line in (on, anew)
    ]
    assert (read[0].iterations, read[0].hours, read[0].run_dir) == (13, None, paths.root)
    assert (read[1].hours, read[1].sizing_given, read[1].run_dir.name) == (8, [], "run_2")
