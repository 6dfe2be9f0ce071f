"""What the units of a training are made of: tilt ranges, voxel sizes and grey values of the cohort."""

from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from commanding import volume
from mrc_files import as_bytes, mrc_file, tomogram
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.io.star import TomogramRow, write_tomogram_list
from mwr_hpc.missing_wedge.entries import TomogramEntry
from mwr_hpc.numerics.normalization import VolumeStatistics
from mwr_hpc.pipeline.lock import RunLock
from mwr_hpc.pipeline.receipts import ReceiptBook
from mwr_hpc.pipeline.starting import read_cohort
from mwr_hpc.pipeline.training_units import TrainingUnits
from mwr_hpc.pipeline.units import Claim, run_unit
from mwr_hpc.run_directory import RunDirectory

ENTRY = TomogramEntry("a", Path("a.mrc"), (64, 64, 64), (10.0,) * 3, tilt_range=(-60.0, 60.0))


def units(**settings: object) -> TrainingUnits:
    run = RunDirectory(Path("run"))
    return TrainingUnits(TrainSettings(**{"input_dir": "t", **settings}), run, ReceiptBook(run.receipts))


def converted(*means: float) -> dict[str, SimpleNamespace]:
    """Receipts of conversions of tomograms a, b, ..."""
    receipts = {}
    for name, mean in zip("abc", means, strict=False):
        quantiles = tuple(mean + (percent - 50) / 25 for percent in range(101))
        statistics = VolumeStatistics(1000, mean, 2.0, quantiles[0], quantiles[-1], quantiles)
        receipts[name] = SimpleNamespace(figures={"statistics": asdict(statistics), "voxel_size": [10.0] * 3})
    return receipts


def test_the_model_tells_the_ranges_of_its_tomograms_not_those_of_the_option() -> None:
    others = [ENTRY, replace(ENTRY, id="b")]
    asked = units(tilt_range=(-30, 30))
    assert asked.training_set(others, converted(0, 0))["tilt_range"] == [-60, 60]
    others.append(replace(ENTRY, id="c", tilt_range=(-67.0, 50.0)))
    told = asked.training_set(others, converted(0, 0, 0))
    assert (told["tilt_range"], told["tomograms"]) == ([[-67, 50], [-60, 60]], ["a", "b", "c"])


@pytest.mark.parametrize(
    ("given", "flip", "expected"),
    [
        (None, False, {"a": (-67, 50), "b": (-60, 60)}),
        (None, True, {"a": (-50, 67), "b": (-60, 60)}),
        ((-40, 30), False, {"a": (-40, 30), "b": (-40, 30)}),
        ((-40, 30), True, {"a": (-30, 40), "b": (-30, 40)}),
    ],
)
def test_the_command_s_range_wins_over_the_list_s(tmp_path, given, flip, expected) -> None:
    rows = [TomogramRow(volume(tmp_path / f"{name}.mrc"), name) for name in "ab"]
    write_tomogram_list(tmp_path / "list.star", [replace(rows[0], tilt_range=(-67.0, 50.0)), rows[1]])
    settings = {"tomograms": tmp_path / "list.star", "cube_size": 8, "tilt_range": given, "flip_tilt": flip}
    assert {entry.id: entry.tilt_range for entry in read_cohort(TrainSettings(**settings)).entries} == expected


def test_a_tomogram_has_its_own_grey_values_and_all_subtomograms_the_same() -> None:
    own = units().normalizations(converted(1, 5))
    assert (own["a"].offset, own["b"].offset) == (1, 5)
    pooled = units(datas_are_subtomos=True, subtomo_dir="s", input_dir=None).normalizations(converted(1, 5))
    assert pooled["a"] is pooled["b"] and pooled["a"].offset == 3


def test_statistics_are_pooled_once_a_run(monkeypatch) -> None:
    calls = []
    pooled = VolumeStatistics.pooled
    monkeypatch.setattr(VolumeStatistics, "pooled", lambda some: calls.append(1) or pooled(some))
    subtomograms = units(datas_are_subtomos=True, subtomo_dir="s", input_dir=None)
    subtomograms.normalizations(converted(1, 5, 9))
    assert calls == [1]


def test_the_voxel_size_of_a_list_is_passed_on_where_the_header_has_none(tmp_path) -> None:
    entry = replace(ENTRY, path=volume(tmp_path / "a.mrc"))
    assert units().convert(entry).parameters == {}
    assert units().convert(replace(entry, stated_voxel_size=8.5)).parameters == {"voxel_size": 8.5}


def test_what_version_0_1_0_has_converted_as_signed_stays_in_its_run(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, dtype in (("old", "u1"), ("new", "u1"), ("signed", "i1")):
        mrc_file(tmp_path / "t" / f"{name}.mrc", as_bytes(tomogram(), dtype))
    some = units(cube_size=8, crop_size=8)
    entries = {entry.id: entry for entry in read_cohort(some.settings).entries}
    assert {name: entry.signedness for name, entry in entries.items()} == {
        "new": "unsigned",
        "old": "unsigned",
        "signed": None,
    }
    before = replace(some.convert(entries["old"]), parameters={})  # as that version had it
    with RunLock(tmp_path / "lock.json") as lock:
        made = run_unit(before, Claim(tmp_path / "lock.json", lock.token))
    conversions, kept = some.conversions(list(entries.values()))
    assert kept == ["old"]
    assert {unit.name: unit.parameters for unit in conversions} == {
        "new": {"bytes": "unsigned"},
        "old": {},
        "signed": {},
    }
    assert made.key in {unit.key for unit in conversions}
    stated = [replace(entry, stated_signedness="unsigned") for entry in entries.values()]
    assert some.conversions(stated)[1] == []


def test_a_run_that_0_1_0_began_keeps_its_statistics_and_its_keys() -> None:
    receipts = converted(1, 5)
    plain = receipts["a"].figures["statistics"]
    receipts["a"].figures["defects"] = {"statistics": plain | {"mean": 3.0}, "outliers": 1}
    for receipt in receipts.values():
        receipt.key = "key"
    entries = [replace(ENTRY, id=name) for name in "ab"]
    old, new = units(), units(begun_by="0.2")
    assert [old.normalizations(receipts)[name].offset for name in "ab"] == [1, 5]
    assert [new.normalizations(receipts)[name].offset for name in "ab"] == [3, 5]
    assert "padding" not in old.training_set(entries, receipts)
    assert new.training_set(entries, receipts)["padding"] == "excluded"
    before, after = (one.extractions(entries, receipts, frozenset()) for one in (old, new))
    assert "hide_defects" not in before[0].parameters and after[0].parameters["hide_defects"] is True
    assert before[1].key == after[1].key  # of a sound tomogram nothing has changed
