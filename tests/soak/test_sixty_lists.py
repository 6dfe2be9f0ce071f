"""Odd lists, files of tilt angles, picks and masks: read as what they hold, or refused or warned of in these words.

The other part of `test_sixty_inputs`.
"""

import time
from pathlib import Path

import numpy as np
import pytest

from commanding import SHORT_TRAINING, Ended, partials_below, refusal, run, volume
from mrc_files import mrc_file
from mwr_hpc.boxnet.examples import ExampleStore
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.star import read_tomogram_list

pytestmark = pytest.mark.soak

SHAPE = (14, 20, 22)
SECONDS = 10.0
BOM = b"\xef\xbb\xbf"
COM = b"$setenv IMOD_OUTPUT_FORMAT MRC\n$tilt -StandardInput\nInputProjections t.ali\nTILTFILE t.tlt\nOFFSET -2.5\n"
ALN = b"# AreTomo Alignment / Priims bprmMn\n# RawSize = 3838 3710 5\n# NumPatches = 1\n"
ALN += b"# DarkFrame =     0   -1   -63.00\n"
ALN += b"# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT\n"
ALN += b"".join(b"%d 84.1 1.0 3.25 -7.5 1.0 1.0 1.0 0.0 %.2f\n" % (at + 1, -57.04 + 3 * at) for at in range(37))
MDOC = "T = SerialEM: caméra\r\n\r\n[T = Tilt axis angle = 84.9, binning = 1 spot = 8]\r\n\r\n".encode("latin-1")
MDOC += b"".join(
    b"[ZValue = %d]\r\nTiltAngle = %.4f\r\nStagePosition = 1.5 -3\r\nSubFramePath = X:\\a[%d].tif\r\n\r\n"
    % (at, tilt, at)
    for at, tilt in enumerate((0.01, 2.98, -3.02, -41.99, 47.0))
)

TILTS: dict[str, tuple[str, bytes, tuple[float, float] | str]] = {
    "order_then_decimal_commas": ("t.rawtlt", BOM + b"1 -48,50\r\n2 -45,50\r\n3 -42,25\r\n4 51,75\r\n", (-48.5, 51.75)),
    "commas_and_semicolons": ("t.tlt", b"-51,01;0,0\n-48,02;3,1\n0,00;6,2\n54,04;9,3\n", (-51.01, 54.04)),
    "dark_frames": ("t.aln", ALN, (-57.04, 50.96)),
    "mdoc_in_latin1": ("t.mrc.mdoc", MDOC, (-41.99, 47.0)),
    "two_lists_of_views": ("t/tilt.com", COM + b"INCLUDE 2-3\nINCLUDE 5\nDONE\n", (-42.5, 47.5)),
    "views_left_out": ("t/tilt.com", COM + b"EXCLUDELIST2 1,6\nEXCLUDELIST 2\nDONE\n", (-22.5, 47.5)),
    "utf16": ("t.tlt", "-60\n60\n".encode("utf-16"), "it is no text"),
    "radians": ("t.tlt", b"-1.05\n0.0\n1.05\n", "look like radians"),
    "underscores": ("t.tlt", b"-4_0\n0\n5_1\n", "line 1 has '-4_0'"),
    "a_million_columns": ("t.tlt", b"1 " * 10**6 + b"\n", "line 1: expected one tilt angle a line"),
    "views_beyond_all": ("t/tilt.com", COM + b"EXCLUDELIST 2-99999999999999\nDONE\n", "there are 6 tilt angles"),
}


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def _quick() -> object:
    begun = time.process_time()
    yield
    assert time.process_time() - begun < SECONDS


@pytest.mark.parametrize("name", TILTS)
def test_tilt_angles(name: str) -> None:
    file, content, expected = TILTS[name]
    volume("in/rec_t.mrc", shape=SHAPE)
    Path("tilts/t").mkdir(parents=True)
    Path("tilts/t/t.tlt").write_text("-60\n-40\n-20\n0\n50\n62\n")
    Path("tilts", file).write_bytes(content)
    ended = run("cohort", "in", "--tlt_dir", "tilts", "--out", "all.star")
    if isinstance(expected, str):
        assert ended.code == 2 and expected in ended.err, ended
        assert not Path("all.star").exists()
        return
    (row,) = read_tomogram_list(Path("all.star"))
    assert row.tilt_range == pytest.approx(expected)


def star(columns: str, *rows: str, block: str = "") -> str:
    """Return a STAR table."""
    return "\n".join([f"data_{block}", "", "loop_", *(f"_{name}" for name in columns.split()), *rows, ""])


WHOLE = "rlnMicrographName"
HALVES = "rlnTomoName rlnTomoReconstructedTomogramHalf1 rlnTomoReconstructedTomogramHalf2"
CASES: dict[str, tuple[bytes, str]] = {
    "latin1": (star(WHOLE, "Müller.mrc").encode("latin-1"), "Müller"),
    "block_of_text": (star(f"{WHOLE} mwrGroup", "'a b.mrc'", ";", "of March", ";").encode(), "a b"),
    "quotes_and_crlf": (star(WHOLE, '"a b.mrc"').replace("\n", "\r\n").encode(), "a b"),
    "hash_in_a_name": (star(WHOLE, "'a #1.mrc' # the first").encode(), "a #1"),
    "halves_with_blanks": (star(HALVES, "TS_9 'even a b.mrc' 'odd a b.mrc'").encode(), "TS_9"),
    "deconvolved_is_the_same": (star(f"{WHOLE} rlnDeconvTomoName", "x.mrc x.mrc").encode(), "x"),
    "deconvolved_is_another": (star(f"{WHOLE} rlnDeconvTomoName", "x.mrc 'a b.mrc'").encode(), "!rlnDeconvTomoName"),
    "tilts_exchanged": (star(f"{WHOLE} rlnTiltMin rlnTiltMax", "x.mrc 61 -59").encode(), "!61"),
    "only_one_tilt": (star(f"{WHOLE} mwrTiltMin mwrTiltMax", "x.mrc -59 nan").encode(), "!mwrTiltMin and mwrTiltMax"),
    "underscore_in_a_number": (star(f"{WHOLE} rlnPixelSize", "plain.mrc 1_3").encode(), "!1_3"),
    "one_row_of_a_million": (star(WHOLE, "x.mrc " * 10**6).encode(), "!at most 1048576 characters"),
    "a_million_columns": (b"data_\nloop_\n" + b"".join(b"_c%d\n" % at for at in range(10**6)), "!at most 1000 columns"),
    "text_without_an_end": (star(f"{WHOLE} mwrGroup", "x.mrc", ";", "for ever").encode(), "!no line of a semicolon"),
}


@pytest.mark.parametrize("name", CASES)
def test_a_list(name: str) -> None:
    content, expected = CASES[name]
    for file in ("Müller", "a b", "a #1", "x", "even a b", "odd a b"):
        volume(f"{file}.mrc", shape=SHAPE)
    mrc_file(Path("plain.mrc"), np.random.default_rng(3).normal(size=SHAPE).astype("f4"), apix=0)
    Path("in.star").write_bytes(content)
    ended = run("cohort", "in.star", "--out", "all.star")
    if expected.startswith("!"):
        assert ended.code == 2 and expected[1:] in ended.err, (ended.code, ended.err[-2000:])
        assert not Path("all.star").exists()
        return
    assert ended.code == 0, ended
    (row,) = read_tomogram_list(Path("all.star"))
    assert (row.name, row.path.exists()) == (expected, True)
    if row.halves_only:
        assert "halves" in refusal("train", "--input_dir", "all.star", "--tilt_range", -60, 60, *SHORT_TRAINING)
    else:
        assert run("convert", row.path, "--out", "c", "--preprocessing_ncpus", 1).code == 0


HEIGHT, WIDTH = 72, 88
PLACES = [(20.0, 30.0), (41.5, 50.25), (60.0, 70.0), (12.0, 9.0), (33.0, 80.0)]
"""Of particles, as (y, x)."""


def corners(side: float = 20) -> list[tuple[float, float]]:
    """Return the corners (x, y) of boxes around the places."""
    return [(x - side / 2, y - side / 2) for y, x in PLACES]


XY = "rlnCoordinateX rlnCoordinateY rlnMicrographName"
CRYOSPARC = "000123456789012345678_m_patch_aligned_doseweighted"
PICKS: dict[str, tuple[str, str, str]] = {
    "boxes_over_the_edge": ("m.box", "".join(f"{x}\t{y}\t20\t20\t-3\r\n" for x, y in corners()), ""),
    "cryolo": (
        "m.cbox",
        star("CoordinateX CoordinateY CoordinateZ Width Height Confidence", block="cryolo")
        + "".join(f"{x} {y} <NA> 20.0 20.0 0.7\n" for x, y in corners()),
        "",
    ),
    "topaz_with_a_mark": (
        "m.txt",
        "\ufeffimage_name\tx_coord\ty_coord\tscore\r\n" + "".join(f"m\t{x}\t{y}\t-1.5\r\n" for y, x in PLACES),
        "",
    ),
    "cryosparc": ("all.star", star(XY, *(f"{x} {y} J7/motioncorrected/{CRYOSPARC}.mrc" for y, x in PLACES)), ""),
    "one_outside": ("m.star", star(XY, *(f"{x} {y} m.mrc" for y, x in [*PLACES, (1.0, 500.0)])), "excluded: 1 of m"),
    "other_pixels": (
        "m.star",
        star(XY, *(f"{4 * x} {4 * y} m.mrc" for y, x in PLACES)),
        "!were they picked in another",
    ),
    "two_data_sets": ("all.star", star(XY, "9 9 one/m.mrc", "9 30 two/m.mrc"), "!one/m.mrc and two/m.mrc"),
    "topaz_with_commas": ("m.txt", "image_name,x_coord,y_coord\nm,9,9\n", "!no tables of Topaz"),
    "box_of_no_size": ("m.box", "4 5 20 0\n", "!line 1 has a box of 20 x 0 pixels"),
    "a_million_numbers": ("m.box", "7 " * 10**6, "!line 1 has 1000000 values"),
    "digits_with_underscores": ("m.star", star(XY, "1_2 9 m.mrc"), "!1_2"),
}


def micrograph(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    image = np.random.default_rng(40).standard_normal((1, HEIGHT, WIDTH)).astype(np.float32)
    image[0, 50:, :30] -= 9
    with MrcWriter(path, image.shape, image.dtype, voxel_size=8.0) as writer:
        writer.write(0, image)
    return path


def prepared(*words: object) -> Ended:
    return run(
        "boxnet", "examples", "prepare", "in", "--diameter", 100, "--val_fraction", 0, "--out", "ex.zarr", *words
    )


@pytest.mark.parametrize("name", PICKS)
def test_picks(name: str) -> None:
    file, content, expected = PICKS[name]
    micrograph(Path("in/m.mrc"))
    Path("picks").mkdir()
    Path("picks", file).write_bytes(content.encode())
    ended = prepared("--positives", f"picks/{file}" if file == "all.star" else "picks")
    assert expected.removeprefix("!") in ended.err, ended
    assert ended.code == (2 if expected.startswith("!") else 0), ended
    if ended.code == 0:
        positions = ExampleStore(Path("ex.zarr")).read("m").positions
        assert sorted(map(tuple, positions.tolist())) == sorted(PLACES)
    assert not partials_below(Path())


@pytest.mark.parametrize("kind", ["right", "upside_down", "shifted_by_128", "of_words"])
def test_masks_of_micrographs(kind: str) -> None:
    micrograph(Path("in/m.mrc"))
    mask = np.zeros((1, HEIGHT, WIDTH), "u1")
    mask[0, 50:, :30] = 255
    stored = {"shifted_by_128": (mask ^ 128).view("i1"), "of_words": mask.astype("u2") * 257}.get(kind, mask)
    mrc_file(Path("masks/m.mrc"), stored[:, ::-1] if kind == "upside_down" else stored, densities=(0.0, 0.0, 0.0))
    Path("picks").mkdir()
    Path("picks/m.star").write_text(star(XY, *(f"{x} {y} m.mrc" for y, x in PLACES[:2])))
    ended = prepared("--positives", "picks", "--masks", "masks")
    assert ended.code == 0 and ("upside down" in ended.err) == (kind == "upside_down"), ended
    assert ExampleStore(Path("ex.zarr")).masked("m")


MASKS = {
    "signed_around_minus_128": ("i1", (-128, -127), ""),
    "bytes_of_255_big_endian": ("u1", (0, 255), ""),
    "words": ("u2", (0, 65535), ""),
    "not_a_number": ("f4", (float("nan"), 1), "a.mrc"),
    "nothing_inside": ("i1", (0, 0), "a.mrc"),
}


@pytest.mark.parametrize("name", MASKS)
def test_masks_of_tomograms(name: str) -> None:
    dtype, (outside, inside), says = MASKS[name]
    volume("in/a.mrc", shape=SHAPE)
    mask = np.full(SHAPE, outside, dtype)
    mask[4:10, 5:15, 6:16] = inside
    mrc_file(Path("masks/a.mrc"), mask, ">", densities=(0.0, 0.0, 0.0))
    given = ("--tilt_range", -60, 60, "--mask_dir", "masks")
    sizes = ("--cube_size", 8, "--crop_size", 8, "--ncube", 1)
    checked = run("check", "in", *given, *sizes)
    trained = run("train", "--input_dir", "in", *given, *SHORT_TRAINING, "--crop_size", 8)
    assert (checked.code, trained.code) == ((2, 2) if says else (0, 0)), (checked, trained)
    assert says in checked.out + checked.err and says in trained.err


NAMES = ["tab\tand\x7fdelete", "isolate\u2066gpj.\u2069", "feed\x0cform", "two\nlines", "ö" * 105]


@pytest.mark.parametrize("name", NAMES)
def test_names(name: str) -> None:
    volume(f"in/{name}.mrc", shape=SHAPE)
    volume("in/plain.mrc", shape=SHAPE, seed=1)
    for words in (("check", "in"), ("cohort", "in", "--out", "all.star"), ("convert", "in", "--out", "c")):
        ended = run(*words, *(("--preprocessing_ncpus", 1) if words[0] == "convert" else ("--tilt_range", -60, 60)))
        assert not set(ended.out + ended.err) & set("\x7f\x0c\u2066\u2069"), ended
        assert ended.code in (0, 1, 2) and "Traceback" not in ended.err
    assert Path("c/plain.ome.zarr").exists()


YAML = {
    "doubling": "a: &a [1, 1]\n"
    + "".join(f"{b}: &{b} [*{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)),
    "deep": "cube_size: " + "{a: " * 50_000,
    "merged": "x: &x {cube_size: 8}\n<<: *x\n",
}


@pytest.mark.parametrize("name", YAML)
def test_configurations(name: str) -> None:
    Path("c.yaml").write_text(YAML[name])
    volume("in/a.mrc", shape=SHAPE)
    assert "c.yaml" in refusal("check", "in", "--config", "c.yaml")


def test_a_deep_zarr() -> None:
    Path("in/a.ome.zarr").mkdir(parents=True)
    Path("in/a.ome.zarr/zarr.json").write_text('{"attributes": ' * 100_000)
    for command in (("check", "in"), ("cohort", "in", "--out", "all.star")):
        assert "a.ome.zarr" in (ended := run(*command)).out + ended.err
        assert ended.code == 2
