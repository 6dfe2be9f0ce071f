"""Judging tomograms from files."""

import json

import numpy as np
import pytest

from commanding import run
from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.missing_wedge.convert import convert_tomogram
from mwr_hpc.missing_wedge.evaluate import evaluate_tomogram
from mwr_hpc.numerics.wedge import combine, filter_volume, measured_region

TILT = (-60.0, 60.0)
SHAPE = (32, 40, 48)


def write(path, volume):
    with MrcWriter(path, volume.shape, np.float32, voxel_size=7.5) as writer:
        writer.write(0, volume.astype(np.float32))
    return path


@pytest.fixture
def files(tmp_path):
    truth = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    region = measured_region(SHAPE, TILT)
    before = filter_volume(truth, region)
    after = combine(truth, 0.8 * truth, region)
    return {name: write(tmp_path / f"{name}.mrc", v) for name, v in
            (("truth", truth), ("before", before), ("after", after), ("inverted", -after))}  # fmt: skip


def test_with_truth_and_before_both_are_judged(files):
    result = evaluate_tomogram(files["after"], files["truth"], files["before"], TILT)
    assert result.voxel_size == pytest.approx(7.5)
    assert result.after.slope["missing"] > 0.75 and result.before.slope["missing"] < 0.1
    assert result.wedge_fill > 0.5 and result.wedge_fill_before < 0.1
    assert result.agreement > 0.98
    assert not result.contrast_inverted
    assert json.loads(json.dumps(result.to_record(), allow_nan=False))["after"]["fcc"]["measured"] > 0.98


def test_without_a_truth_there_are_fill_and_agreement(files):
    result = evaluate_tomogram(files["after"], None, files["before"], TILT)
    assert result.after is None and result.before is None
    assert result.wedge_fill > 0.5 and result.agreement > 0.98
    alone = evaluate_tomogram(files["after"], None, None, TILT)
    assert alone.wedge_fill == result.wedge_fill and alone.agreement is None
    assert not alone.contrast_inverted


@pytest.mark.parametrize("against", ["truth", "before"])
def test_inverted_contrast_is_noticed(files, against):
    truth, before = (files[name] if name == against else None for name in ("truth", "before"))
    assert evaluate_tomogram(files["inverted"], truth, before, TILT).contrast_inverted


def test_ome_zarr_is_judged_like_the_mrc_it_came_from(files, tmp_path):
    converted = tmp_path / "after.ome.zarr"
    convert_tomogram({"tomogram": files["after"]}, {}, converted)
    assert evaluate_tomogram(converted, files["truth"], None, TILT) == evaluate_tomogram(
        files["after"], files["truth"], None, TILT
    )


def test_a_truth_of_another_size_is_refused_with_both_names(files, tmp_path):
    other = write(tmp_path / "other.mrc", np.random.default_rng(0).normal(size=(8, 8, 8)))
    with pytest.raises(InputError, match=r"other\.mrc.*after\.mrc"):
        evaluate_tomogram(files["after"], other, None, TILT)


def test_a_constant_truth_is_refused_by_name(files, tmp_path):
    with pytest.raises(InputError, match=r"flat\.mrc: all voxels have the value 1"):
        evaluate_tomogram(files["after"], write(tmp_path / "flat.mrc", np.ones(SHAPE)), None, TILT)


def test_a_tomogram_with_nan_is_refused_by_name(files):
    with files["after"].open("r+b") as file:
        file.seek(1024)
        file.write(np.float32("nan").tobytes())
    with pytest.raises(InputError, match=r"after\.mrc: holds NaN"):
        evaluate_tomogram(files["after"], None, None, TILT)


def test_the_judgement_says_what_the_figures_mean(files):
    filled = evaluate_tomogram(files["after"], files["truth"], files["before"], TILT)
    assert filled.judgement.startswith("The missing wedge is filled")
    assert f"correlates with the truth by {filled.after.fcc['missing']:.2f}" in filled.judgement
    untouched = evaluate_tomogram(files["before"], None, files["before"], TILT)
    assert untouched.judgement.startswith("The missing wedge is nearly empty")
    assert "train longer" in untouched.judgement and "its noise included" in untouched.judgement
    assert "inverted" in evaluate_tomogram(files["inverted"], None, files["before"], TILT).judgement
    alone = evaluate_tomogram(files["after"], None, None, TILT).judgement
    assert "only a known truth" in alone and "changed" not in alone


def test_the_command_prints_the_judgement(files):
    words = ["evaluate", files["before"], "--before", files["before"], "--tilt_range", -60, 60]
    assert "The missing wedge is nearly empty" in run(*words).out
    assert "nearly empty" in json.loads(run(*words, "--json").out)["judgement"]
