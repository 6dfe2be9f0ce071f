"""What `predict` reports of its corrections: warnings, the table of results, a figure of each tomogram."""

import csv
from pathlib import Path

import numpy as np
import pytest

from commanding import run, small_model, volume
from mwr_hpc.events import Event, Notice
from mwr_hpc.numerics.change import Change
from mwr_hpc.pipeline.corrections import warn_of_little_change
from mwr_hpc.pipeline.receipts import Receipt

SIZES = ["--cube_size", 12, "--crop_size", 16]


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def receipt(change: Change | None) -> Receipt:
    figures = {} if change is None else {"change": change.to_record()}
    return Receipt("", "correct", "", figures, 1, 1, None, 1.0, 1.0, 1, "host", 1, {})


def warnings_of(changes: dict[str, Change | None], keep_measured: bool = False) -> list[str]:
    events: list[Event] = []
    warn_of_little_change({name: receipt(one) for name, one in changes.items()}, keep_measured, events.append)
    assert all(isinstance(event, Notice) and event.warning for event in events)
    return [event.text for event in events if isinstance(event, Notice)]


def test_only_what_hardly_changed_is_warned_of() -> None:
    good, empty, kept = Change(0.4, 0.03, 0.3), Change(0.049, 0.03, 0.3), Change(0.4, 0.03, 0.0099)
    assert warnings_of({"a": good, "no wedge": Change(None, None, 0.3), "older version": None}) == []
    [text] = warnings_of({"a": good, "b": empty})
    assert "1 of 2 tomograms (b)" in text and "at most 4.9%" in text and "--iterations" in text
    [text] = warnings_of({"a": good, "c": kept})
    assert "outside the missing wedge in 1 of 2 tomograms (c)" in text
    assert warnings_of({"c": kept}, keep_measured=True) == []
    thousand = {f"{number:04d}": empty for number in range(1000)}
    assert "(0000, 0001, 0002, 0003, 0004 and 995 more)" in warnings_of(thousand)[0]


def test_an_untrained_model_is_warned_of_and_every_tomogram_has_a_figure_and_its_figures() -> None:
    """An untrained network returns its input: on 0.1.0 this said "Done" and nothing else."""
    for number in range(2):
        volume(f"in/t{number}.mrc", seed=number)
    model = small_model("model.h5")
    first = run("predict", model, "in", "--out", "out", *SIZES)
    assert first.code == 0, first
    assert "outside the missing wedge in 2 of 2 tomograms (t0, t1)" in first.err
    with Path("out/results.csv").open() as table:
        rows = {row["tomogram"]: row for row in csv.DictReader(table)}
    assert {float(row["changed"]) for row in rows.values()} == {0.0}
    assert rows["t0"]["wedge_fill"] == rows["t0"]["wedge_fill_before"]
    assert float(rows["t0"]["wedge_fill"]) == pytest.approx(1, abs=0.2), "noise fills its wedge"
    pictures = {path: path.stat().st_mtime_ns for path in Path("out").glob("*.png")}
    assert {path.name for path in pictures} == {"t0.png", "t1.png"}
    again = run("predict", model, "in", "--out", "out", *SIZES)
    assert "outside the missing wedge" in again.err, "it is as true of what was done before"
    assert {path: path.stat().st_mtime_ns for path in pictures} == pictures, "finished figures are not drawn again"


def test_a_wedge_that_stays_empty_is_warned_of() -> None:
    from mwr_hpc.numerics.wedge import filter_volume, measured_region

    shape = (24, 40, 40)
    noise = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    volume("in/t.mrc", filter_volume(noise, measured_region(shape, (-60, 60))))
    ended = run("predict", small_model("model.h5"), "in", "--out", "out", *SIZES, "--keep_measured")
    assert "the missing wedge stays nearly empty in 1 of 1 tomograms (t)" in ended.err
    assert "outside the missing wedge" not in ended.err


def test_a_figure_of_somebody_else_stays_as_it_is() -> None:
    volume("in/t.mrc")
    Path("out").mkdir()
    Path("out/t.png").write_bytes(b"mine")
    ended = run("predict", small_model("model.h5"), "in", "--out", "out", *SIZES)
    assert ended.code == 2 and "out/t.png: is there, but this command did not make it" in ended.err
    assert Path("out/t.png").read_bytes() == b"mine"


@pytest.mark.parametrize("form", ["mrc", "ome-zarr", "both"])
def test_each_format_has_its_figure_and_several_models_each_their_own(form: str) -> None:
    volume("in/t.mrc")
    models = [small_model("one.h5"), small_model("two.h5")]
    ended = run("predict", *models, "in", "--out", "out", "--format", form, *SIZES)
    assert ended.code == 0, ended
    assert sorted(str(path) for path in Path("out").rglob("*.png")) == ["out/one/t.png", "out/two/t.png"]
