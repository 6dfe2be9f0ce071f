"""Picking a folder of micrographs: right, once, by other rules without the network, and never over a user's files."""

import csv
import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

from commanding import Ended, damaged_volume, files_below, partials_below, refusal, run, small_model, volume
from mrc_files import mrc_file
from mwr_hpc.boxnet import pick as stage
from mwr_hpc.boxnet import publish
from mwr_hpc.cluster.pool import InlinePool
from mwr_hpc.errors import DamagedArrayError, InputError
from mwr_hpc.io.mrc import MrcWriter, open_mrc
from mwr_hpc.io.picks import read_picks
from mwr_hpc.io.tiff import read_mask, write_mask
from mwr_hpc.pipeline import backend
from mwr_hpc.pipeline.status import status_of
from picking import DIAMETER, ICE, SHAPE, found, micrograph, micrographs, picked_files, places, spot_model

OPTIONS = ["--diameter", DIAMETER, "--model", "spots"]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models; always the same, so that the network is built once."""
    folder = tmp_path_factory.mktemp("models")
    spot_model(folder / "spots.h5")
    spot_model(folder / "blind.h5", masks=False)
    return folder


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, registry: Path) -> None:
    """Work in an empty folder, and pick in this process."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(backend, "local_pool", lambda workers: nullcontext(InlinePool()))
    monkeypatch.setenv("MWR_HPC_MODELS", str(registry))


@pytest.fixture
def network_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The micrographs that the network has been asked about."""
    calls = []
    original = stage.read_micrograph

    def counted(path: Path, *more: object) -> object:
        calls.append(path.stem)
        return original(path, *more)

    monkeypatch.setattr(stage, "read_micrograph", counted)
    return calls


def pick(*words: object) -> Ended:
    options = OPTIONS[: 2 if "--model" in words else None]
    ended = run("boxnet", "pick", "--micrographs", "m", *options, *words)
    assert not partials_below(Path.cwd())
    return ended


def table(path: str = "m/picks_spots.csv") -> dict[str, dict[str, str]]:
    with open(path) as stream:
        return {row["micrograph"]: row for row in csv.DictReader(stream)}


def test_particles_are_where_they_are() -> None:
    micrographs(Path("m"), 2)
    micrograph(Path("m/ice.mrc"), 5, ice=True)
    ended = pick("--formats", "star,box,cbox")
    assert ended.code == 0, ended.err
    for seed in range(2):
        assert found(Path(f"m/matching/m{seed:03d}_spots.star")) == pytest.approx(places(seed), abs=2)
        picks = read_picks(Path(f"m/matching/m{seed:03d}_spots.star"))
        assert set(picks.micrographs) == {f"m{seed:03d}.mrc"}
        assert (np.diff(picks.scores) <= 0).all() and picks.scores.min() > 0.5
        corners = np.loadtxt(f"m/matching/m{seed:03d}_spots.box")
        assert corners[:, 2:].tolist() == [[24, 24]] * len(picks)
        assert corners[:, 0] == pytest.approx(picks.x - 12, abs=0.51)
        assert "_cbox_format_version" in Path(f"m/matching/m{seed:03d}_spots.cbox").read_text()
    mask = read_mask(Path("m/mask/ice.tif"))
    (top, left), (bottom, right) = np.array(ICE) // 2
    assert mask.shape == (128, 160)
    assert mask[top + 3 : bottom - 3, left + 3 : right - 3].mean() > 0.7
    assert mask.sum() < 1.5 * (bottom - top) * (right - left)
    assert not read_mask(Path("m/mask/m000.tif")).any()
    for y, x in found(Path("m/matching/ice_spots.star")):
        outside = np.maximum(0, np.maximum(np.subtract(ICE[0], (y, x)), np.subtract((y, x), ICE[1])))
        assert np.hypot(*outside) > 0.4 * DIAMETER / 4
    assert {name: row["status"] for name, row in table().items()} == dict.fromkeys(("ice", "m000", "m001"), "done")
    every = read_picks(Path("m/picks_spots.star"))
    assert len(every) == sum(int(row["particles"]) for row in table().values())
    assert set(every.micrographs) == {"ice.mrc", "m000.mrc", "m001.mrc"}
    assert status_of(Path("m").absolute()).state == "finished"


def test_rules_need_no_network(network_calls: list[str]) -> None:
    micrographs(Path("m"), 3)
    assert pick().code == 0
    assert sorted(network_calls) == ["m000", "m001", "m002"]
    before = picked_files(Path("m"))
    times = {path: path.stat().st_mtime_ns for path in files_below(Path("m/matching"))}
    assert pick().code == 0
    assert times == {path: path.stat().st_mtime_ns for path in files_below(Path("m/matching"))}
    assert pick("--border", 80, "--formats", "box").code == 0
    inner = read_picks(Path("m/picks_spots.star"))
    assert 0 < len(inner) < before["picks_spots.star"].count(b"\n") - 8
    assert (inner.positions > 79).all() and (inner.positions < np.array(SHAPE) - 79).all()
    assert pick("--threshold", 0.999999).code == 0
    assert len(network_calls) == 3
    micrograph(Path("m/m001.mrc"), 8)  # another one of the same name
    assert pick().code == 0
    assert network_calls[3:] == ["m001"]


def test_damaged_candidates_are_named_and_made_again(network_calls: list[str]) -> None:
    micrographs(Path("m"), 2)
    assert pick().code == 0
    before = picked_files(Path("m"))
    candidates = Path("m/.mwr_hpc/candidates/spots/m000.h5")
    whole = candidates.read_bytes()
    candidates.write_bytes(whole[:-40] + bytes([whole[-40] ^ 1]) + whole[-39:])
    ended = run("status", "m", "--verify")
    assert ended.code == 1 and f"{candidates}: its checksum does not fit" in ended.out
    ended = pick()
    assert ended.code == 0 and "m000.h5: not as it was written" in ended.err
    assert candidates.read_bytes() == whole and network_calls == ["m000", "m001", "m000"]
    assert picked_files(Path("m")) == before


def test_candidates_damaged_while_files_are_written_from_them_are_made_again(
    network_calls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    micrographs(Path("m"), 2)
    read = publish.read_candidates
    first = []

    def damaged_once(path: Path) -> object:
        if not first:
            first.append(path)
            raise DamagedArrayError(path, "its checksum does not fit")
        return read(path)

    monkeypatch.setattr(publish, "read_candidates", damaged_once)
    ended = pick()
    assert ended.code == 0 and "candidates_spots makes it again" in ended.err
    assert network_calls == ["m000", "m001", first[0].stem]
    assert {row["status"] for row in table().values()} == {"done"}


def test_more_micrographs_and_a_limit(network_calls: list[str]) -> None:
    micrographs(Path("m"), 3)
    assert pick("--limit", 2).code == 0
    assert network_calls == ["m000", "m001"] and list(table()) == network_calls
    assert pick().code == 0
    assert network_calls == list(table()) == ["m000", "m001", "m002"]


def test_corrected_files_stay(network_calls: list[str]) -> None:
    micrographs(Path("m"), 3)
    assert pick().code == 0
    corrected, own_mask = Path("m/matching/m001_spots.star"), Path("m/mask/m002.tif")
    lines = corrected.read_text().splitlines()
    corrected.write_text("\n".join([*lines[:-2], "33.0 44.0 m001.mrc 0.5"]) + "\n")
    write_mask(own_mask, np.ones((128, 160), bool))
    by_hand = corrected.read_bytes(), own_mask.read_bytes()
    micrograph(Path("m/m001.mrc"), 8)
    micrograph(Path("m/m002.mrc"), 9)
    for words in ((), ("--threshold", 0.9)):
        ended = pick(*words)
        assert ended.code == 0
        assert "m001_spots.star" in ended.err + ended.out and "m002.tif" in ended.err + ended.out
        assert (corrected.read_bytes(), own_mask.read_bytes()) == by_hand
        assert table()["m001"] == {
            "micrograph": "m001",
            "status": "corrected",
            "particles": str(len(lines) - 8 - 1),
            "reason": "",
        }
        assert [44.0, 33.0] in read_picks(Path("m/picks_spots.star")).positions.tolist()


def test_files_of_others_are_not_replaced() -> None:
    micrographs(Path("m"), 2)
    write = Path("m/matching/m001_spots.star")
    write.parent.mkdir()
    write.write_text("mine")
    message = refusal("boxnet", "pick", "--micrographs", "m", *OPTIONS)
    assert "m001_spots.star" in message and "--suffix" in message
    assert pick("--suffix", "other").code == 0
    assert write.read_text() == "mine" and Path("m/picks_other.star").exists()
    write.unlink()
    Path("m/picks_spots.csv").write_text("mine")
    assert "picks_spots.csv" in refusal("boxnet", "pick", "--micrographs", "m", *OPTIONS)


def test_masks_of_the_user_stay() -> None:
    micrographs(Path("m"), 1)
    Path("m/mask").mkdir()
    Path("m/mask/m000.tif").write_bytes(b"mine, of whatever kind")
    assert pick().code == 0
    assert Path("m/mask/m000.tif").read_bytes() == b"mine, of whatever kind"


def test_a_model_without_masks_writes_none() -> None:
    micrographs(Path("m"), 1)
    assert pick("--model", "blind").code == 0
    assert not Path("m/mask").exists()


def damaged(folder: Path) -> set[str]:
    """Write micrographs that cannot be used."""
    micrograph(folder / "size.mrc", angpix=0.0)
    micrograph(folder / "one.mrc", angpix=1.0)
    micrograph(folder / "coarse.mrc", angpix=9.0)
    damaged_volume(folder / "nan.mrc", np.nan)
    volume(folder / "stack.mrc")
    cut = micrograph(folder / "cut.mrc")
    cut.write_bytes(cut.read_bytes()[:5000])
    (folder / "text.mrc").write_text("no micrograph")
    (folder / "image.tif").write_text("no micrograph")
    with MrcWriter(folder / "constant.mrc", (1, *SHAPE), np.float32, voxel_size=4.0) as writer:
        writer.write(0, np.ones((1, *SHAPE), np.float32))
    return {path.stem for path in folder.iterdir()}


def test_bad_micrographs_stop_no_other() -> None:
    bad = damaged(Path("m"))
    micrographs(Path("m"), 2)
    ended = pick()
    assert ended.code == 1
    rows = table()
    assert {name for name, row in rows.items() if row["status"] == "failed"} == bad
    assert all(f"{name}." in rows[name]["reason"] and f"{name}:" in ended.err for name in bad)
    assert "--angpix" in rows["size"]["reason"] and "--angpix" in rows["one"]["reason"]
    assert rows["m000"]["status"] == rows["m001"]["status"] == "done"
    assert set(status_of(Path("m").absolute()).left_out) == bad
    # A repaired one is taken in, the others stay out.
    micrograph(Path("m/nan.mrc"), 4)
    assert pick().code == 1
    assert table()["nan"]["status"] == "done" and table()["cut"]["status"] == "failed"


def test_nothing_but_bad_micrographs() -> None:
    damaged(Path("m"))
    ended = pick()
    assert ended.code == 2 and "none of the micrographs could be picked" in ended.err


def test_a_fault_of_the_program_is_left_out_with_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    micrographs(Path("m"), 2)
    original = stage.prepare

    def failing(image: np.ndarray, *rest: object) -> np.ndarray:
        if image[0, 0] == first:
            raise ZeroDivisionError("on purpose")
        return original(image, *rest)

    first = stage.read_micrograph(Path("m/m000.mrc"), None).image[0, 0]
    monkeypatch.setattr(stage, "prepare", failing)
    assert pick().code == 1
    assert "ZeroDivisionError" in table()["m000"]["reason"] and table()["m001"]["status"] == "done"
    assert "on purpose" in Path("m/.mwr_hpc/logs/candidates_spots_m000.log").read_text()


def test_nothing_found_is_an_empty_table() -> None:
    micrographs(Path("m"), 1)
    assert pick("--border", 200).code == 0
    assert len(read_picks(Path("m/matching/m000_spots.star"))) == 0
    assert len(read_picks(Path("m/picks_spots.star"))) == 0
    assert table()["m000"]["particles"] == "0"


def test_stopped_and_continued(monkeypatch: pytest.MonkeyPatch, network_calls: list[str]) -> None:
    micrographs(Path("m"), 4)
    assert pick("--out", "whole").code == 0
    original = stage.pick_micrograph
    with monkeypatch.context() as patch:

        def stopping(*arguments: object) -> dict:
            if len(network_calls) == 6:
                raise KeyboardInterrupt  # as a Ctrl-C that nobody catches: a kill
            return original(*arguments)

        patch.setattr(stage, "pick_micrograph", stopping)
        with pytest.raises(KeyboardInterrupt):
            from mwr_hpc.config.boxnet_picking import PickSettings
            from mwr_hpc.events import ignore, never
            from mwr_hpc.pipeline.boxnet_picking import pick as pick_all

            settings = PickSettings(model="spots", micrographs="m", diameter=DIAMETER, out="parts")
            pick_all(settings, ignore, never)
    assert [row["status"] for row in table("parts/picks_spots.csv").values()] == ["waiting"] * 4
    assert pick("--out", "parts").code == 0
    assert len(network_calls) == 8
    assert picked_files(Path("parts")) == picked_files(Path("whole"))


def test_shares_make_the_whole() -> None:
    micrographs(Path("m"), 5)
    micrograph(Path("m/bad.mrc"), angpix=0.0)
    assert pick("--out", "whole").code == 1
    codes = [pick("--out", "shared", "--share", f"{index}/3").code for index in range(3)]
    assert sorted(codes) == [0, 0, 1]
    assert picked_files(Path("shared")) == picked_files(Path("whole"))


def test_contrast_and_pixel_size() -> None:
    micrographs(Path("m"), 1)
    with MrcWriter(Path("m/m000.mrc"), (1, *SHAPE), np.float32, voxel_size=1.0) as writer:
        image = stage.read_micrograph(micrograph(Path("dark.mrc")), None).image
        writer.write(0, -image[None])
    assert pick("--contrast", "bright", "--angpix", 4).code == 0
    assert found(Path("m/matching/m000_spots.star")) == pytest.approx(places(0), abs=2)
    assert pick("--contrast", "bright", "--angpix", 4.5).code == 0  # not the same as before: done again


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"--model": None}, "found no model"),
        ({"--diameter": None}, "found no diameter"),
        ({"--micrographs": None}, "found no micrographs"),
        ({"--formats": "mrc"}, "star, box, cbox"),
        ({"--suffix": "a/b"}, "suffix"),
        ({"--threshold": 1.5}, "threshold"),
        ({"--pixel-size": 5}, "trained at 8"),
        ({"--share": "3/3"}, "I/N"),
        ({"--micrographs": "nowhere"}, "nowhere"),
        ({"--micrographs": "empty"}, "no micrographs"),
        ({"--model": "other.h5"}, "boxnet"),
        ({"--model": "broken.h5"}, "broken.h5"),
        ({"--model": "unknown"}, "unknown"),
    ],
    ids=str,
)
def test_refusals(changed: dict[str, object], said: str, registry: Path) -> None:
    micrographs(Path("m"), 1)
    Path("empty").mkdir()
    small_model("other.h5")
    Path("broken.h5").write_bytes((registry / "spots.h5").read_bytes()[:3000])
    options = {"--micrographs": "m", "--diameter": DIAMETER, "--model": "spots"} | changed
    words = [word for name, value in options.items() if value is not None for word in (name, value)]
    assert said in refusal("boxnet", "pick", *words)


def test_two_micrographs_of_one_name() -> None:
    micrographs(Path("m"), 1)
    Path("m/m000.tif").write_bytes(b"")
    assert "ambiguous" in refusal("boxnet", "pick", "--micrographs", "m", *OPTIONS)


def test_the_record_says_how() -> None:
    micrographs(Path("m"), 1)
    assert pick("--border", 7).code == 0
    record = json.loads(Path("m/.mwr_hpc/picked_spots.json").read_text())
    assert record["name"] == "spots" and record["rules"]["border"] == 7 and record["rules"]["threshold"] == 0.5


def test_a_damaged_model_is_no_fault_of_a_micrograph() -> None:
    micrographs(Path("m"), 1)
    Path("spots.h5").write_bytes(b"nothing")
    with pytest.raises(InputError, match="spots"):
        stage.pick_micrograph(
            {"micrograph": Path("m/m000.mrc"), "model": Path("spots.h5")},
            {"pixel_size": 8.0, "angpix": None, "contrast": "dark"},
            Path("c.h5"),
        )


def test_bytes_are_picked_alike_with_and_without_a_stamp() -> None:
    image = open_mrc(micrograph(Path("float/m.mrc"))).data
    values = np.clip(np.rint(128 + 60 * image), 0, 255).astype("u1")
    mrc_file(Path("m/stamp.mrc"), values, imod_flags=0, apix=4.0)
    mrc_file(Path("m/none.mrc"), values, apix=4.0)
    mrc_file(Path("m/open.mrc"), values, apix=4.0, densities=(-128.0, 127.0, 0.0))
    ended = pick()
    assert ended.code == 1 and "open.mrc: whether its bytes (mode 0) are signed is open" in ended.err
    assert len(found(Path("m/matching/stamp_spots.star"))) == len(places(0))
    assert pick("--bytes", "unsigned").code == 0
    for name in ("none", "open"):
        np.testing.assert_array_equal(
            found(Path(f"m/matching/{name}_spots.star")), found(Path("m/matching/stamp_spots.star"))
        )


def test_odd_headers_of_micrographs_are_told_once() -> None:
    image = open_mrc(micrograph(Path("float/m.mrc"))).data
    mrc_file(Path("m/absent.mrc"), image, announced=1024, apix=4.0)
    ended = pick()
    assert ended.code == 0 and ended.err.count("1024 bytes that is announced is not there") == 1
    assert len(found(Path("m/matching/absent_spots.star"))) == len(places(0))
