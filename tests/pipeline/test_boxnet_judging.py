"""Judging picks: the figures of a known case, what belongs together, and what is refused."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from commanding import Ended, refusal, run
from mwr_hpc.cluster.pool import InlinePool
from mwr_hpc.io.picks import write_picks
from mwr_hpc.pipeline import backend
from mwr_hpc.pipeline.receipts import checksum
from picking import ANGPIX, DIAMETER, micrographs, places, spot_model

NUMBER = 3


@pytest.fixture(scope="module")
def picked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Micrographs with their truth, picked."""
    folder = tmp_path_factory.mktemp("picked")
    model = spot_model(folder / "spots.h5")
    micrographs(folder / "m", NUMBER)
    for seed in range(NUMBER):
        write_truth(folder / f"truth/m{seed:03d}.star", places(seed), f"m{seed:03d}.mrc")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(backend, "local_pool", lambda workers: nullcontext(InlinePool()))
        for name in ("m", "elsewhere"):
            words = ("--micrographs", folder / "m", "--out", folder / name, "--model", model, "--diameter", DIAMETER)
            assert run("boxnet", "pick", *words).code == 0
    return folder


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def write_truth(path: Path, positions: np.ndarray, name: str) -> None:
    path.parent.mkdir(exist_ok=True)
    write_picks(path, positions[:, 1], positions[:, 0], name)


def judged(picked: Path, *words: object) -> dict:
    ended = run("boxnet", "evaluate", picked / "m", "--json", *words)
    assert ended.code == 0, ended.err
    return json.loads(ended.out)


def test_all_are_found(picked: Path) -> None:
    record = judged(picked, "--truth", picked / "truth")
    assert record["model"] == "spots" and record["tolerance"] == DIAMETER / 4 and not record["left_out"]
    total = sum(len(places(seed)) for seed in range(NUMBER))
    assert record["picks"]["truths"] == record["picks"]["matched"] == record["picks"]["picks"] == total
    assert record["picks"]["f1"] == record["picks"]["average_precision"] == record["best_f1"] == 1.0
    assert 0 < record["picks"]["position_error"] < 2 * ANGPIX
    assert {name: one["truths"] for name, one in record["micrographs"].items()} == {
        f"m{seed:03d}": len(places(seed)) for seed in range(NUMBER)
    }
    out = run("boxnet", "evaluate", picked / "elsewhere", "--truth", picked / "truth", "--baseline").out
    assert f"{NUMBER} micrographs, {total} true positions" in out
    assert "F1 1.000" in out and "difference of Gaussians" in out


def test_missing_and_surplus_truths(picked: Path) -> None:
    shifted = [places(seed).astype(float) for seed in range(NUMBER)]
    shifted[0] = shifted[0][3:]  # three picks are wrong
    shifted[1] = np.vstack([shifted[1], [[8.0, 8.0], [120.0, 4.0]]])  # two truths are missed
    for seed in range(NUMBER):
        write_truth(Path(f"other/m{seed:03d}_mine.star"), shifted[seed], f"m{seed:03d}.mrc")
    Path("other").mkdir(exist_ok=True)
    record = judged(picked, "--truth", "other")["picks"]
    total = sum(map(len, places_of_all := [places(seed) for seed in range(NUMBER)]))
    assert record["matched"] == total - 3 and record["picks"] == total and record["truths"] == total - 3 + 2
    assert record["precision"] == pytest.approx((total - 3) / total)
    assert record["recall"] == pytest.approx((total - 3) / (total - 1))
    # The two are within 20 pixels of the edge.
    assert judged(picked, "--truth", "other", "--border", 20)["picks"]["recall"] == 1.0
    assert judged(picked, "--truth", "other", "--tolerance", 0.01)["picks"]["matched"] < total / 2
    assert judged(picked, "--truth", "other", "--threshold", 0.9999999)["picks"]["picks"] <= total
    assert places_of_all


def test_one_list_of_all(picked: Path) -> None:
    every = [places(seed) for seed in range(NUMBER)]
    names = [f"m{seed:03d}.mrc" for seed in range(NUMBER) for _ in every[seed]]
    positions = np.concatenate(every)
    write_picks(Path("all.star"), positions[:, 1], positions[:, 0], names)
    assert judged(picked, "--truth", "all.star")["picks"]["f1"] == 1.0


def test_a_truth_that_was_not_picked(picked: Path, tmp_path: Path) -> None:
    hidden = picked / "m/.mwr_hpc/candidates/spots/m001.h5"
    hidden.rename(tmp_path / "away")
    try:
        ended: Ended = run("boxnet", "evaluate", picked / "m", "--truth", picked / "truth")
    finally:
        (tmp_path / "away").rename(hidden)
    assert ended.code == 1 and "m001: not picked" in ended.err and "2 micrographs" in ended.out


def test_training_micrographs_are_refused(picked: Path) -> None:
    record = picked / "m/.mwr_hpc/picked_spots.json"
    before = record.read_text()
    told = json.loads(before)
    try:
        told["training_set"] = {"micrographs": [{"name": "m001", "checksum": checksum(picked / "m/m001.mrc")}]}
        record.write_text(json.dumps(told))
        words = ("boxnet", "evaluate", picked / "m", "--truth", picked / "truth")
        message = refusal(*words)
        assert "spots was trained on m001.mrc" in message and "--allow-training-micrographs" in message
        assert run(*words, "--allow-training-micrographs").code == 0
        told["training_set"] = {"micrographs": [{"name": "m001", "checksum": "another"}]}
        record.write_text(json.dumps(told))
        ended = run(*words)
        assert ended.code == 0 and "m001" in ended.err + ended.out
    finally:
        record.write_text(before)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "found no picks"),
        (["picked"], "found no truth"),
        (["picked", "--truth", "nowhere"], "nowhere"),
        (["empty", "--truth", "truth"], "no picks; run `mwr-hpc boxnet pick` first"),
        (["picked", "--truth", "truth", "--suffix", "other"], "there are spots"),
        (["picked", "--truth", "empty"], "no STAR files"),
        (["picked", "--truth", "outside"], "outside the micrograph"),
        (["picked", "--truth", "nothing"], "no coordinates"),
        (["picked", "--truth", "unknown"], "missing"),
    ],
)
def test_refusals(picked: Path, words: list[str], said: str) -> None:
    Path("empty").mkdir()
    write_truth(Path("outside/m000.star"), np.array([[10.0, 3000.0]]), "m000.mrc")
    write_truth(Path("unknown/other.star"), np.array([[10.0, 30.0]]), "other.mrc")
    Path("nothing").mkdir()
    Path("nothing/m000.star").write_text("data_\n\nloop_\n_rlnMicrographName #1\nm000.mrc\n")
    known = {"picked": picked / "m", "truth": picked / "truth"}
    assert said in refusal("boxnet", "evaluate", *(known.get(word, word) for word in words))


def test_one_truth_outside_its_micrograph_is_excluded_and_told(picked: Path) -> None:
    every = [places(seed) for seed in range(NUMBER)]
    names = [f"m{seed:03d}.mrc" for seed in range(NUMBER) for _ in every[seed]]
    positions = np.vstack([*every, [[10.0, 3000.0]]])
    write_picks(Path("all.star"), positions[:, 1], positions[:, 0], [*names, "m000.mrc"])
    record = judged(picked, "--truth", "all.star")
    assert record["picks"]["f1"] == 1.0 and record["outside"] == {"m000": 1}
    ended = run("boxnet", "evaluate", picked / "m", "--truth", "all.star")
    assert "Warning: positions outside their micrographs were excluded: 1 of m000" in ended.err


def test_truths_of_two_micrographs_of_one_name_are_refused(picked: Path) -> None:
    write_picks(Path("all.star"), [40.0, 50.0], [40.0, 50.0], ["one/m000.mrc", "two/m000.mrc"])
    message = refusal("boxnet", "evaluate", picked / "m", "--truth", "all.star")
    assert "one/m000.mrc and two/m000.mrc are two micrographs" in message
