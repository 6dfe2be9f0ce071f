"""`mwr-hpc boxnet simulate` and `examples prepare` as commands: defaults, resuming, bad files, and every refusal."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from commanding import damaged_volume, partials_below, refusal, run, volume
from mrc_files import mrc_file
from mwr_hpc.boxnet.examples import ExampleStore
from mwr_hpc.boxnet.labels import CONTAMINATION
from mwr_hpc.errors import DamagedArrayError
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.picks import write_picks
from mwr_hpc.io.tiff import write_mask

PREPARE = ("boxnet", "examples", "prepare")


@pytest.fixture
def micrographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three micrographs of 64 x 80 pixels of 8 A with picks in Warp's folders; the first has a mask."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "mics"
    for index in range(3):
        name = f"m{index}"
        micrograph(folder / f"{name}.mrc", seed=index)
        picks(folder / "matching" / f"{name}_Net.star", name)
    (folder / "mask").mkdir()
    mask = np.zeros((64, 80), bool)
    mask[:20, :20] = True
    write_mask(folder / "mask" / "m0.tif", mask)
    return folder


def micrograph(path: Path, pixel_size: float = 8.0, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = np.random.default_rng(seed).standard_normal((1, 64, 80)).astype(np.float32)
    with MrcWriter(path, image.shape, image.dtype, voxel_size=pixel_size) as writer:
        writer.write(0, image)
    return path


def picks(path: Path, name: str, x: float = 30.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_picks(path, [x, 50.0], [20.0, 40.0], f"{name}.mrc")
    return path


def prepare(micrographs: Path, *words: object) -> tuple[object, ...]:
    return (*PREPARE, "--micrographs", micrographs, "--diameter", 120, *words)


def test_simulated_micrographs_become_examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("--number", 2, "--size", "96 128", "--angpix", 8, "--species", 1, "--snr", 1, "--contamination", 1)
    ended = run("boxnet", "simulate", "sim", *words, "--particles", 6)
    assert ended.code == 0 and "mwr-hpc boxnet examples prepare --micrographs" in ended.out
    ended = run(*PREPARE, "sim", "--positives", "sim/truth", "--diameter", "150", "--out", "ex.zarr")
    assert ended.code == 0 and "mwr-hpc boxnet retrain" in ended.out
    store = ExampleStore(Path("ex.zarr"))
    assert store.names == ["mic_00000", "mic_00001"] and store.masked("mic_00000")
    assert store.read("mic_00000").image.shape == (96, 128)


def test_folders_are_those_of_warp_unless_told(micrographs: Path) -> None:
    ended = run(*prepare(micrographs))
    assert ended.code == 0, ended.err
    store = ExampleStore(micrographs / "boxnet2training" / "examples.zarr")
    assert store.names == ["m0", "m1", "m2"] and len(store.held_out) == 1
    assert [store.masked(name) for name in store.names] == [True, False, False]
    assert "2 of 3 micrographs have no mask, m1 among them" in ended.err
    assert not partials_below(micrographs)


def test_what_is_done_is_not_done_again_and_new_picks_are(micrographs: Path) -> None:
    command = prepare(micrographs, "--out", "ex.zarr")
    run(*command)
    times = {name: (Path("ex.zarr") / name).stat().st_mtime_ns for name in ("m0", "m1", "m2")}
    picks(micrographs / "matching" / "m1_Net.star", "m1", x=33.0)
    assert run(*command).code == 0
    changed = [name for name, time in times.items() if (Path("ex.zarr") / name).stat().st_mtime_ns != time]
    assert changed == ["m1"]
    assert ExampleStore(Path("ex.zarr")).read("m1").positions[0, 1] == 33
    (micrographs / "matching" / "m2_Net.star").unlink()
    run(*command)
    assert ExampleStore(Path("ex.zarr")).names == ["m0", "m1"]


def test_a_damaged_example_is_named_and_made_again_by_the_same_command(micrographs: Path) -> None:
    command = prepare(micrographs, "--out", "ex.zarr")
    assert run(*command).code == 0
    (chunk,) = (path for path in Path("ex.zarr/m1/c").rglob("*") if path.is_file())
    whole, other = chunk.read_bytes(), Path("ex.zarr/m2").stat().st_mtime_ns
    chunk.write_bytes(whole[:50] + bytes([whole[50] ^ 1]) + whole[51:])
    with pytest.raises(DamagedArrayError, match=r"ex\.zarr/m1: damaged example .*prepare the examples again"):
        ExampleStore(Path("ex.zarr")).read("m1")
    ended = run("status", "ex.zarr", "--verify")
    assert ended.code == 1 and "/ex.zarr/m1: chunk 0 of the shard c/0/0/0 is not" in ended.out
    ended = run(*command)
    assert ended.code == 0 and "prepare_example makes it again" in ended.err
    assert chunk.read_bytes() == whole and Path("ex.zarr/m2").stat().st_mtime_ns == other


def test_one_bad_micrograph_is_left_out_and_the_others_go_on(micrographs: Path) -> None:
    damaged_volume(micrographs / "m3.mrc", np.nan)  # also a volume, which is found first
    picks(micrographs / "matching" / "m3_Net.star", "m3")
    picks(micrographs / "matching" / "m1_Net.star", "m1", x=300.0)
    ended = run(*prepare(micrographs, "--out", "ex.zarr"))
    assert ended.code == 1
    assert "m3: " in ended.err and "found 16 sections, expected one image" in ended.err
    assert "Warning: positions outside their micrographs were excluded: 1 of m1; check them" in ended.err
    assert ExampleStore(Path("ex.zarr")).names == ["m0", "m1", "m2"]
    assert len(ExampleStore(Path("ex.zarr")).read("m1").positions) == 1


def test_every_refusal_has_its_message(micrographs: Path) -> None:
    assert "found no diameter" in refusal(*PREPARE, "--micrographs", micrographs)
    assert "found no micrographs" in refusal(*PREPARE, "--diameter", 100)
    assert "--diameter -1" in refusal(*PREPARE, "--micrographs", micrographs, "--diameter", -1)
    assert "does not exist" in refusal(*prepare(micrographs, "--positives", "none.star"))
    assert "without '/'" in refusal(*prepare(micrographs, "--important_suffix", "../x"))
    assert "check --uncertain_suffix odd" in refusal(*prepare(micrographs, "--uncertain_suffix", "odd"))
    Path("empty").mkdir()
    assert "no STAR files of particles" in refusal(*prepare(micrographs, "--positives", "empty"))
    assert "no mask of any of the micrographs" in refusal(*prepare(micrographs, "--masks", "empty"))
    assert "no micrographs in this folder" in refusal(*prepare(Path("empty"), "--positives", micrographs / "matching"))
    micrograph(micrographs / "m2.mrc", pixel_size=4.0)
    assert "mixed pixel sizes" in refusal(*prepare(micrographs))
    assert "--angpix 3" in refusal(*prepare(micrographs, "--angpix", 3))
    micrograph(micrographs / "m2.mrc")
    picks(micrographs / "matching" / "gone_Net.star", "gone")
    assert "the micrographs of gone_Net.star are missing" in refusal(*prepare(micrographs))


def test_picks_that_name_a_file_elsewhere_are_refused(micrographs: Path) -> None:
    for index in range(3):
        path = micrographs / "matching" / f"m{index}_Net.star"
        write_picks(path, [1.0], [1.0], "../../etc/passwd")
    ended = run(*prepare(micrographs, "--out", "ex.zarr"))
    assert ended.code == 2 and "none of the micrographs could be prepared" in ended.err
    last = ended.err.partition("none of the")[2]
    assert last.count("which leads out of the folder of micrographs") == 3


def test_examples_without_a_single_particle_are_refused(micrographs: Path) -> None:
    for index in range(3):
        write_picks(micrographs / "matching" / f"m{index}_Net.star", [], [], [])
    ended = run(*prepare(micrographs, "--out", "ex.zarr"))
    assert ended.code == 2 and "no micrograph has a single positive" in ended.err


def test_a_folder_of_something_else_is_left_alone(micrographs: Path) -> None:
    volume("ex.zarr/m0/tomogram.mrc")
    assert "this command did not make it" in refusal(*prepare(micrographs, "--out", "ex.zarr"))
    Path("file.zarr").write_text("notes")
    assert "is no folder" in refusal(*prepare(micrographs, "--out", "file.zarr"))


def test_refusals_of_the_simulation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    simulate = ("boxnet", "simulate", "sim", "--number", 1)
    assert "--snr" in refusal(*simulate, "--snr", "2 1")
    assert "the lowest first" in refusal(*simulate, "--snr", "2 1")
    assert "crowding is (0.1, 0.9)" in refusal(*simulate, "--crowding", "0.1 0.9")
    assert "--size" in refusal(*simulate, "--size", "10")
    assert "does not exist" in refusal(*simulate, "--maps", "none.mrc")
    flat = volume(tmp_path / "flat.mrc", np.zeros((8, 8, 8), np.float32))
    ended = run(*simulate, "--maps", flat)
    assert ended.code == 2 and "positive where the molecule is" in ended.err


def test_a_mask_painted_in_the_order_of_rows_is_told_and_right_as_mrc(micrographs: Path) -> None:
    mask = np.zeros((64, 80), bool)
    mask[4:20, 10:30] = True
    image = np.random.default_rng(7).standard_normal((1, 64, 80)).astype(np.float32)
    image[:, mask] += 4
    with MrcWriter(micrographs / "m0.mrc", image.shape, image.dtype, voxel_size=8.0) as writer:
        writer.write(0, image)
    tifffile.imwrite(micrographs / "mask" / "m0.tif", mask.astype(np.uint8))
    ended = run(*prepare(micrographs))
    assert ended.code == 0
    (warning,) = (line for line in ended.err.splitlines() if "upside down" in line)
    assert "Warning: the masks of m0 fit their micrographs better" in warning and "as <micrograph>.mrc" in warning
    (micrographs / "mask" / "m0.tif").unlink()
    mrc_file(micrographs / "mask" / "m0.mrc", mask[None].astype(np.uint8))
    ended = run(*prepare(micrographs))
    assert ended.code == 0 and "upside down" not in ended.err
    labels = ExampleStore(micrographs / "boxnet2training" / "examples.zarr").read("m0").labels
    np.testing.assert_array_equal(labels == CONTAMINATION, mask)
