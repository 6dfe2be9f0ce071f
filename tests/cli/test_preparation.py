"""The commands before training, from the words of the command line to files and exit codes."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from commanding import damaged_volume, refusal, run, small_model, volume
from mwr_hpc.config.loading import PREFIX
from mwr_hpc.io.mrc import MrcWriter, open_mrc
from mwr_hpc.io.star import read_tomogram_list
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.wedge import filter_volume, measured_region

SHAPE = (32, 40, 48)
TILTS = (-66.0, 50.0)


def tomogram(path: Path, index: int = 0) -> Path:
    """Noise with a missing wedge, and dense, varied matter on the left."""
    noise = keyed_generator(0, "test", index=index).standard_normal(SHAPE, np.float32)
    noise[:, :, :16] *= 3
    volume = filter_volume(noise, measured_region(SHAPE, TILTS))
    path.parent.mkdir(parents=True, exist_ok=True)
    with MrcWriter(path, SHAPE, np.float32, voxel_size=8.0) as writer:
        writer.write(0, volume)
    return path


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in [name for name in os.environ if name.startswith(PREFIX)]:
        monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


def test_masks_list_and_check_of_a_folder() -> None:
    tomogram(Path("in/a.mrc")), tomogram(Path("in/b.mrc"), 1)
    made = run("make_mask", "in", "masks", "--side", 2, "--preprocessing_ncpus", 1)
    assert (made.code, sorted(path.name for path in Path("masks").glob("*.mrc"))) == (0, ["a_mask.mrc", "b_mask.mrc"])
    mask = open_mrc(Path("masks/a_mask.mrc")).data
    assert mask[:, :, :12].mean() > 0.95 and mask[:, :, 26:].mean() < 0.05

    listed = run("cohort", "in", "--tilt_range", -66, 50, "--mask_dir", "masks", "--group", "day 1")
    assert listed.code == 0 and "2 tomograms" in listed.out and "mwr-hpc check" in listed.out
    rows = read_tomogram_list(Path("tomograms.star"))
    assert [(row.name, row.tilt_range, row.group) for row in rows] == [("a", TILTS, "day 1"), ("b", TILTS, "day 1")]
    assert rows[0].mask == Path("masks/a_mask.mrc").absolute()

    checked = run("check", "tomograms.star", "--cube_size", 16, "--json")
    report = json.loads(checked.out)
    assert checked.code == 0 and report["findings"] == []
    assert [one["tilt_range"] for one in report["tomograms"]] == [list(TILTS)] * 2
    assert report["environment"]["versions"]["numpy"] == np.__version__
    assert report["tomograms"][0]["places_in_mask"] > 50


def test_masks_are_made_once_and_by_all_spellings() -> None:
    a = tomogram(Path("a.mrc"))
    assert run("make-mask", a, "m.mrc", "--side=2", "--percentile", 50).code == 0
    before = Path("m.mrc").stat().st_mtime_ns
    assert run("make_mask", "--input", a, "--out", "m.mrc", "--side", 2, "--density_percentage", 50).code == 0
    assert Path("m.mrc").stat().st_mtime_ns == before
    assert run("make_mask", a, "m.mrc", "--side", 3, "--percentile", 50).code == 0
    assert Path("m.mrc").stat().st_mtime_ns != before


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("make-mask", "found no input"),
        ("make-mask in m.mrc", "is a folder; name a folder for masks"),
        ("make-mask in/a.mrc in/a.mrc", "this command did not make it"),
        ("make-mask in --percentile 0", "more than 0"),
        ("make-mask in --z_crop 0.5", "less than 0.5"),
        ("make-mask in out more", "'more' belongs to no option"),
        ("generate-noise in", "this command did not make it"),
        ("generate-noise n.zarr --filter hann", "'none', 'ramp' or 'hamming'"),
        ("generate-noise n.zarr --tilt_range -1 1 --tilt_step 3", "more than the tilt range"),
        ("cohort", "found no input"),
        ("cohort in --tilt_range -60 60 --tlt_dir in", "found both"),
        ("cohort in --tlt_dir nowhere", "does not exist; expected a folder"),
        ("train --input_dir in --group x", "add --tomograms LIST.star"),
        ("check --cube_size 15", "use 14 or 16"),
    ],
)
def test_mistakes_end_with_2_and_leave_the_input_alone(words: str, says: str) -> None:
    content = tomogram(Path("in/a.mrc")).read_bytes()
    ended = run(*words.split())
    assert ended.code == 2 and says in ended.err, ended
    assert Path("in/a.mrc").read_bytes() == content


def test_noise_for_training() -> None:
    words = ("generate_noise", "noise.zarr", "--number", 2, "--cubesize", 16, "--tilt_range", -60, 50)
    assert run(*words).code == 0
    written = Path("noise.zarr/zarr.json").stat().st_mtime_ns
    assert run(*words).code == 0
    assert Path("noise.zarr/zarr.json").stat().st_mtime_ns == written
    assert json.loads(Path("noise.zarr/zarr.json").read_text())["attributes"]["tilt_range"] == [-60, 50]
    # The other sign of tilt is another noise.
    assert run(*words, "--flip_tilt").code == 0
    assert json.loads(Path("noise.zarr/zarr.json").read_text())["attributes"]["tilt_range"] == [-50, 60]


def test_leftovers_of_others_are_left_alone() -> None:
    """What a run beside is writing has a partial name too."""
    others = [Path("run/x.mrc.partial-1"), Path("other.zarr.partial-2")]
    own = Path("noise.zarr.partial-3")
    Path("run").mkdir()
    for path in (*others, own):
        path.touch()
    assert run("generate-noise", "noise.zarr", "--number", 1, "--cube_size", 8).code == 0
    assert all(path.exists() for path in others) and not own.exists()


def test_a_bad_file_among_good_ones() -> None:
    tomogram(Path("in/a.mrc"))
    Path("in/bad.mrc").write_bytes(b"no MRC")
    listed = run("cohort", "in", "--out", "list.star")
    assert listed.code == 1 and "bad: " in listed.err and "1 of them have no tilt range: a" in listed.err
    masked = run("make-mask", "in", "masks", "--side", 2)
    assert masked.code == 1 and "bad: " in masked.err and Path("masks/a_mask.mrc").exists()
    checked = run("check", "in", "--cube_size", 16, "--tilt_range", -50, 66)
    assert checked.code == 2
    assert "Error: bad: " in checked.out and "Warning: a: " in checked.out and "other sign" in checked.out


@pytest.mark.parametrize("words", [("convert", "in", "--out", "made"), ("make-mask", "in", "made")])
def test_status_and_retry_know_the_folder(words: tuple[str, ...]) -> None:
    volume("in/good.mrc")
    damaged_volume("in/nan.mrc", np.nan)
    assert run(*words).code == 1
    told = json.loads(run("status", "made", "--json").out)
    assert (told["state"], told["units"], told["done"], told["failed"]) == ("finished", 2, 1, 1)
    assert list(told["left_out"]) == ["nan"] and "nan.mrc" in told["left_out"]["nan"]
    assert "nan" in run("retry", "made").out
    assert json.loads(run("status", "made", "--json").out)["left_out"] == {}


def test_a_list_replaces_nothing_but_a_list_of_its_own() -> None:
    """Its name may have been forgotten before the files, as in `cohort --out *.mrc`."""
    first, second = volume("in/a.mrc"), volume("in/b.mrc")
    Path("isonet.star").write_text(f"data_\n\nloop_\n_rlnMicrographName\n{first.absolute()}\n")
    before = {path: path.read_bytes() for path in (first, second, Path("isonet.star"))}
    assert "a list ends in .star" in refusal("cohort", "--out", first, second)
    assert "a list ends in .star" in refusal("cohort", "in", "--out", "in")
    assert "is one of the inputs" in refusal("cohort", "isonet.star", "--out", "isonet.star")
    assert "did not write it" in refusal("cohort", "in", "--out", "isonet.star")
    assert "--group 'a\\nb'" in refusal("cohort", "in", "--group", "a\nb")
    assert {path: path.read_bytes() for path in before} == before
    for _ in range(2):
        assert run("cohort", "in", "--out", "own.star").code == 0


def test_check_of_the_environment_alone() -> None:
    checked = run("check")
    assert checked.code == 0
    for name in ("versions", "processor", "GPUs", "precision", "Horovod", "SLURM", "room"):
        assert f"{name}: " in checked.out


def test_the_list_says_where_each_value_comes_from() -> None:
    for name in ("a", "b", "c"):
        tomogram(Path(f"in/{name}.mrc"))
    Path("tilts").mkdir()
    for name in ("a", "b"):
        Path(f"tilts/{name}.tlt").write_text("-60\n0\n60\n")
    Path("tilts/c.mdoc").write_text("[ZValue = 0]\nTiltAngle = -50\n[ZValue = 1]\nTiltAngle = 60\n")
    columns = "_rlnMicrographName\n_rlnDefocus\n_mwrTiltMin\n_mwrTiltMax\n"
    Path("d.star").write_text(f"data_\nloop_\n{columns}other/d.mrc 3.1 -40 41\n")
    tomogram(Path("other/d.mrc"))
    ended = run("cohort", "in", "d.star", "--tlt_dir", "tilts", "--out", "all.star")
    assert ended.code == 0, ended.err
    assert "  tilt range: .mdoc files in" in ended.out and ", .tlt files in" in ended.out
    assert "mwrTiltMin and mwrTiltMax of d.star (1)" in ended.out and "  voxel size: headers (4)" in ended.out
    assert "  not used: rlnDefocus of d.star (1)" in ended.out


def test_halves_are_listed_and_not_trained_on() -> None:
    for half in ("even", "odd"):
        tomogram(Path(f"{half}/a.mrc"))
    names = "_rlnTomoReconstructedTomogramHalf1\n_rlnTomoReconstructedTomogramHalf2\n"
    Path("halves.star").write_text(f"data_\nloop_\n{names}even/a.mrc odd/a.mrc\n")
    listed = run("cohort", "halves.star", "--tilt_range", -60, 60, "--out", "all.star")
    assert listed.code == 0 and "1 of them have halves only, which no command works on yet: a" in listed.err
    (row,) = read_tomogram_list(Path("all.star"))
    assert (row.halves_only, row.even, row.odd) == (True, Path("even/a.mrc").absolute(), Path("odd/a.mrc").absolute())
    for words in (
        ("train", "--tomograms", "all.star"),
        ("check", "all.star"),
        ("predict", "m.h5", "--tomograms", "all.star"),
    ):
        if words[0] == "predict":
            small_model("m.h5")
        ended = run(*words)
        assert ended.code == 2 and "a has the halves" in ended.out + ended.err
