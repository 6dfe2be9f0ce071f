"""Sixty odd inputs on all commands that take them: read as what they hold, or refused or warned of in these words."""

import json
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from commanding import SHORT_TRAINING, Ended, partials_below, run, small_model
from mrc_files import mrc_file
from mwr_hpc.boxnet.examples import ExampleStore
from mwr_hpc.cluster.pool import InlinePool
from mwr_hpc.io.mrc import open_mrc
from mwr_hpc.io.picks import read_picks, write_picks
from mwr_hpc.io.star import read_tomogram_list
from mwr_hpc.io.volume import open_volume
from mwr_hpc.numerics.wedge import filter_volume, measured_region
from mwr_hpc.pipeline import backend, conversion
from picking import spot_model
from sixty_micrographs import ANGPIX, MICROGRAPHS, picture, places
from sixty_volumes import VOLUMES

pytestmark = pytest.mark.soak

TILTS = ("--tilt_range", -60, 60)
SMALL = ("--cube_size", 8, "--crop_size", 8, "--ncube", 1)


@pytest.fixture(scope="module", autouse=True)
def _in_this_process() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in (backend, conversion):
            patch.setattr(module, "local_pool", lambda workers: nullcontext(InlinePool()))
        yield


@pytest.fixture(scope="module")
def tomograms(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """All volumes in one folder, given to every command that takes it; and as plain floats those that can be read."""
    folder = tmp_path_factory.mktemp("tomograms")
    means = {}
    for name, odd in VOLUMES.items():
        if (voxels := odd.write(folder / f"in/{name}{odd.ending}")) is not None:
            means[name] = voxels
            mrc_file(folder / f"plain/{name}.mrc", np.asarray(voxels, "f4"))
    model = small_model(folder / "model.h5")
    given, out = folder / "in", folder / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        ended = {
            "check": run("check", given, *TILTS, *SMALL, "--full", "--json"),
            "convert": run("convert", given, "--out", out / "converted"),
            "predict": run("predict", model, given, "--out", out / "predicted", *TILTS),
            "plain": run("predict", model, folder / "plain", "--out", out / "plain", *TILTS),
            "make-mask": run("make-mask", given, out / "masks"),
            "plain masks": run("make-mask", folder / "plain", out / "plain_masks"),
            "cohort": run("cohort", given, *TILTS, "--out", out / "all.star"),
            "plan": run("plan", "predict", model, given),
            "train": run("train", "--input_dir", given, "--run_dir", out / "run", *TILTS, *SHORT_TRAINING),
        }
    return SimpleNamespace(out=out, ended=ended, means=means)


READERS = ("check", "convert", "predict", "make-mask", "cohort", "plan", "train")
TELLERS = tuple(command for command in READERS if command not in ("check", "plan"))


@pytest.mark.parametrize("name", VOLUMES)
def test_a_tomogram(tomograms: SimpleNamespace, name: str) -> None:
    odd, out, ended = VOLUMES[name], tomograms.out, tomograms.ended
    found = [one["text"] for one in json.loads(ended["check"].out)["findings"] if one["about"] == name]
    assert any(odd.says in text for text in found) or not odd.says, found
    for command in TELLERS:
        require_said(ended[command], name, odd.notes)
    if name not in tomograms.means:
        for command in ("convert", "predict", "make-mask", "train"):
            require_said(ended[command], name, odd.says)
        assert not list(out.glob(f"*/{name}*"))
        return
    stored = open_volume(out / f"converted/{name}.ome.zarr").data[:]
    np.testing.assert_array_equal(stored, tomograms.means[name])
    odd_result, plain = (open_mrc(out / f"{folder}/{name}_corrected.mrc").data for folder in ("predicted", "plain"))
    np.testing.assert_allclose(np.asarray(odd_result, float), plain, rtol=2e-3, atol=2e-3 * float(np.std(plain)))
    masks = (open_mrc(out / f"{folder}/{name}_mask.mrc").data for folder in ("masks", "plain_masks"))
    assert len({mask.tobytes() for mask in masks}) == 1
    (row,) = (row for row in read_tomogram_list(out / "all.star") if row.name == name)
    assert row.voxel_size == pytest.approx(10)
    assert (out / f"run/subtomograms/{name}.zarr").exists()


def require_said(ended: Ended, name: str, words: str) -> None:
    """Require words in the lines that name an input."""
    lines = [line for line in (ended.out + ended.err).split("\n") if name in line]
    assert not words or any(words in line for line in lines), lines


def test_no_command_on_tomograms_failed_by_a_fault(tomograms: SimpleNamespace) -> None:
    codes = {command: ended.code for command, ended in tomograms.ended.items()}
    assert codes == dict.fromkeys(READERS, 1) | {"check": 2, "plan": 0, "plain": 0, "plain masks": 0}
    assert not any("Traceback" in ended.err for ended in tomograms.ended.values())
    assert not partials_below(tomograms.out)


@pytest.fixture(scope="module")
def micrographs(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """All micrographs in one folder, picked, and made examples of with their known places."""
    folder = tmp_path_factory.mktemp("micrographs")
    (folder / "in").mkdir()
    (folder / "truth").mkdir()
    for seed, (name, odd) in enumerate(MICROGRAPHS.items()):
        path = folder / f"in/{name}{odd.ending}"
        odd.write(path, picture(seed))
        y, x = places(seed).T
        write_picks(folder / f"truth/{name}.star", x, y, path.name)
    spot_model(folder / "models/spots.h5")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MWR_HPC_MODELS", str(folder / "models"))
        common = ("--diameter", 96, "--angpix", ANGPIX)
        ended = {
            "pick": run("boxnet", "pick", "in", "--model", "spots", "--out", "out", *common),
            "prepare": run("boxnet", "examples", "prepare", "in", "--positives", "truth", "--out", "ex.zarr", *common),
            "evaluate": run("boxnet", "evaluate", "out", "--truth", "truth"),
        }
    return SimpleNamespace(folder=folder, ended=ended)


@pytest.mark.parametrize("name", MICROGRAPHS)
def test_a_micrograph(micrographs: SimpleNamespace, name: str) -> None:
    odd, folder = MICROGRAPHS[name], micrographs.folder
    for command in ("pick", "prepare"):
        require_said(micrographs.ended[command], name, odd.says)
    store = ExampleStore(folder / "ex.zarr")
    picked = folder / f"out/matching/{name}_spots.star"
    assert picked.exists() == (name in store.names) == (not odd.refused)
    if odd.refused:
        require_said(micrographs.ended["evaluate"], name, "not picked")
        return
    truth = places(list(MICROGRAPHS).index(name))
    found = read_picks(picked).positions
    assert len(found) == len(truth)
    assert np.abs(found[:, None] - truth[None]).max(axis=2).min(axis=0).max() < 3
    example = store.read(name)
    at = tuple((truth * ANGPIX / store.pixel_size).astype(int).T)
    assert example.image[at].mean() > example.image.mean() + 2 * example.image.std()  # protein is bright there


def test_no_command_on_micrographs_failed_by_a_fault(micrographs: SimpleNamespace) -> None:
    assert {command: ended.code for command, ended in micrographs.ended.items()} == {
        "pick": 1,
        "prepare": 1,
        "evaluate": 1,
    }
    assert not partials_below(micrographs.folder)


def altered(kind: str) -> np.ndarray:
    """Return noise with a missing wedge, of 16-bit integers around 20,000, after what a program did to it."""
    shape = (44, 60, 68)
    noise = np.random.default_rng(61).standard_normal(shape).astype(np.float32)
    raw = 20_000 + 120 * filter_volume(noise, measured_region(shape, (-60.0, 60.0)))
    if kind == "two paddings":
        raw = ndimage.rotate(raw, -8, (1, 2), reshape=False, order=1, cval=0)
        raw[:, :, 34:][raw[:, :, 34:] == 0] = 20_000
        raw[:5] = -32_768
    elif kind == "smoothed along z":
        raw = ndimage.gaussian_filter1d(raw, 1.5, axis=0)
    elif kind == "denoised":
        raw = ndimage.uniform_filter(ndimage.median_filter(raw, 3), 2)
    return np.rint(raw).astype("i2")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("nothing", None),
        ("two paddings", "are padding of the value 0 and 20000 in its corners"),
        pytest.param(
            *("smoothed along z", "low-pass filtered, denoised, corrected or upsampled"),
            marks=pytest.mark.xfail(reason="what a filter along one axis removes is taken for a narrower tilt range"),
        ),
        ("denoised", "low-pass filtered, denoised, corrected or upsampled"),
    ],
)
def test_what_was_done_to_a_tomogram(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, says: str | None
) -> None:
    monkeypatch.chdir(tmp_path)
    mrc_file(tmp_path / "in/a.mrc", altered(kind))
    ended = run("check", "in", *TILTS, *SMALL, "--json")
    found = [one["text"] for one in json.loads(ended.out)["findings"] if one["about"] == "a"]
    assert ended.code == 0, ended
    assert any(says in text for text in found) if says else found == [], found
