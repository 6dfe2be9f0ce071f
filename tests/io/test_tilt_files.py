"""Angles of IMOD, AreTomo and SerialEM: read exactly, without excluded views; damage is named."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mwr_hpc.errors import InputError
from mwr_hpc.io.tilt_files import angles_of_aln, angles_of_lines, angles_of_mdoc, angles_of_tilt_com
from mwr_hpc.io.tilts import find_tilts, read_tilt_range

FEW = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
angle = st.integers(-7000, 7000).map(lambda hundredths: hundredths / 100)
series = st.lists(angle, min_size=3, max_size=12, unique=True)

ALN = """# AreTomo Alignment / Priims bprmMn
# RawSize = 4092 5760 5
# NumPatches = 4
# DarkFrame =     0    1   -66.02
# AlphaOffset =     0.00
# BetaOffset =     0.00
# SEC     ROT         GMAG       TX          TY      SMEAN     SFIT    SCALE     BASE     TILT
    0  -85.1000    1.00000    -12.345     10.000     1.00     1.00     1.00     0.00    -57.01
    1  -85.1000    1.00000      2.345     10.000     1.00     1.00     1.00     0.00      3.00
    2  -85.1000    1.00000     12.345     10.000     1.00     1.00     1.00     0.00     51.02
# Local Alignment
   0    0   100.00   200.00     1.00     2.00  1.0 1.0 1.0 99.0
"""

MDOC = """PixelSpacing = 1.35
ImageFile = TS_1.mrc
ImageSize = 5760 4092
DataMode = 1

[T = SerialEM: Acquired on Krios TiltAngle = 77]

[ZValue = 0]
TiltAngle = 0.01
StagePosition = 1 2

[ZValue = 1]
StagePosition = 1 2
TiltAngle = -51.5

[ZValue = 2]
TiltAngle = 60
"""

TILT_COM = """# Command file to run Tilt
$tilt -StandardInput
InputProjections TS_1.ali
OutputFile TS_1_full.rec
FULLIMAGE 1950 1024
OFFSET 1.5
SHIFT 0.0 0.0
THICKNESS 96
TILTFILE TS_1.tlt
XTILTFILE TS_1.xtilt
EXCLUDELIST 1, 3-4
$if (-e ./savework) ./savework
TILTFILE other.tlt
"""


def written(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@given(
    angles=series,
    comma=st.booleans(),
    second=st.sampled_from(["", "order", "dose", "view"]),
    end=st.sampled_from(["\n", "\r\n"]),
)
@FEW
def test_lines_of_one_or_two_columns(tmp_path: Path, angles: list[float], comma: bool, second: str, end: str) -> None:
    """With an order, which is any permutation; a dose tells itself apart by the sign of angles alone."""
    angles = [-61.25, *angles]
    texts = [f"{value:.2f}".replace(".", "," if comma else ".") for value in angles]
    order = sorted(range(len(angles)), key=lambda view: abs(angles[view]))
    columns = {
        "": texts,
        "order": [f"{text}\t{order.index(view) + 1}" for view, text in enumerate(texts)],
        "dose": [f" {text}  {3.1 * view:.1f}" for view, text in enumerate(texts)],
        "view": [f"{view} {text}" for view, text in enumerate(texts)],
    }
    path = tmp_path / "a.tlt"
    path.write_bytes("".join(line + end for line in columns[second]).encode())
    assert angles_of_lines(path) == angles


def test_commas_between_whole_angles_and_their_order(tmp_path: Path) -> None:
    assert angles_of_lines(written(tmp_path / "a.tlt", "-57,3\n3,1\n60,2\n")) == [-57, 3, 60]
    assert angles_of_lines(written(tmp_path / "a.tlt", "-57,3\n3,1\n60,7\n")) == [-57.3, 3.1, 60.7]
    assert angles_of_lines(written(tmp_path / "a.tlt", "-57.5, 3\n3.0, 1\n60.0, 2\n")) == [-57.5, 3, 60]
    assert read_tilt_range(written(tmp_path / "a.TLT", "-57,30\n60,20\n")) == (-57.3, 60.2)


def test_dark_frames_and_local_alignments_do_not_count(tmp_path: Path) -> None:
    assert angles_of_aln(written(tmp_path / "a.aln", ALN)) == [-57.01, 3.0, 51.02]
    assert read_tilt_range(tmp_path / "a.aln") == (-57.01, 51.02)


@given(angles=series)
@FEW
def test_alignments_and_notes_of_any_series(tmp_path: Path, angles: list[float]) -> None:
    header, _, _ = ALN.partition("    0  -85")
    rows = "".join(f"{view} -85.1 1.0 -12.3 10.0 1.0 1.0 1.0 0.0 {value}\n" for view, value in enumerate(angles))
    assert angles_of_aln(written(tmp_path / "a.aln", header + rows)) == angles
    sections = "".join(
        f"[ZValue = {view}]\nTiltAngle = {value}\nMagnification = 42\n\n" for view, value in enumerate(angles)
    )
    assert angles_of_mdoc(written(tmp_path / "a.mdoc", "T = x\n\n" + sections)) == angles


def test_notes_of_serialem(tmp_path: Path) -> None:
    assert read_tilt_range(written(tmp_path / "a.mdoc", MDOC)) == (-51.5, 60)


@given(angles=st.lists(angle, min_size=4, max_size=12, unique=True), data=st.data())
@FEW
def test_excluded_views_do_not_count(tmp_path: Path, angles: list[float], data: st.DataObject) -> None:
    excluded = data.draw(st.sets(st.integers(1, len(angles))))
    more = data.draw(st.sets(st.integers(1, len(angles))))
    included = data.draw(st.none() | st.sets(st.integers(1, len(angles)), min_size=1))
    written(tmp_path / "TS_1.tlt", "".join(f"{value}\n" for value in angles))
    lists = f"EXCLUDELIST {','.join(map(str, excluded))}\nEXCLUDELIST2 {' '.join(map(str, more))}\n"
    lists += "" if included is None else f"INCLUDE {','.join(map(str, included))}\n"
    text = TILT_COM.replace("EXCLUDELIST 1, 3-4\n", lists).replace("OFFSET 1.5", "OFFSET 0.5 2.0")
    expected = [
        value + 0.5
        for view, value in enumerate(angles, 1)
        if view not in excluded | more and (included is None or view in included)
    ]
    assert angles_of_tilt_com(written(tmp_path / "tilt.com", text)) == expected


def test_lists_of_included_views_add_up(tmp_path: Path) -> None:
    written(tmp_path / "TS_1.tlt", "-60\n-30\n0\n30\n60\n")
    text = TILT_COM.replace("EXCLUDELIST 1, 3-4\n", "INCLUDE 2-3\nINCLUDE 5\n")
    assert angles_of_tilt_com(written(tmp_path / "tilt.com", text)) == [-28.5, 1.5, 61.5]


def test_command_files_of_both_styles(tmp_path: Path) -> None:
    written(tmp_path / "TS_1.tlt", "-60\n-30\n0\n30\n60\n")
    assert angles_of_tilt_com(written(tmp_path / "tilt.com", TILT_COM)) == [-28.5, 61.5]
    old = "$tilt\ng5a.ali\ng5a.rec\nTILTFILE TS_1.tlt\nEXCLUDELIST\nDONE\nEXCLUDELIST 1\n"
    assert angles_of_tilt_com(written(tmp_path / "tilt.com", old)) == [-60, -30, 0, 30, 60]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("tilt.com", TILT_COM.replace("TILTFILE TS_1.tlt\n", ""), "no TILTFILE in the commands of tilt"),
        ("tilt.com", TILT_COM.replace("$tilt", "$newstack"), "no TILTFILE"),
        ("tilt.com", TILT_COM.replace("3-4", "3-9"), "line 11 names the views 3-9, but there are 5 tilt angles"),
        ("tilt.com", TILT_COM.replace("3-4", "x"), "line 11 has 'x' in a list of views"),
        ("tilt.com", TILT_COM.replace("OFFSET 1.5", "OFFSET one"), "line 6 has 'one' as OFFSET"),
        ("tilt.com", TILT_COM.replace("TS_1.tlt", "none.tlt"), r"none\.tlt: there is no such file"),
        ("a.aln", ALN.replace("TX          TY", "TX TY TZ"), "line 7 names other columns than SEC ROT"),
        ("a.aln", ALN.replace("-57.01", ""), "line 8 has 9 values, expected the 10 of AreTomo"),
        ("a.aln", ALN.replace("-57.01", "nan"), "line 8 has 'nan' as TILT"),
        (
            "a.mdoc",
            MDOC.replace("TiltAngle = -51.5\n", ""),
            r"line 12 begins the view ZValue = 1, which has no TiltAngle",
        ),
        ("a.mdoc", MDOC.replace("-51.5", "steep"), "line 14 has 'steep' as TiltAngle"),
        ("a.tlt", "-4_0\n0\n40\n", "line 1 has '-4_0'"),
        ("a.aln", ALN.replace("-57.01", "-5_7"), "line 8 has '-5_7' as TILT"),
        ("a.mdoc", "[FrameSet = 0]\nTiltAngle = 3\n", "found 0 angles"),
    ],
)
def test_damage_is_named_with_its_line(tmp_path: Path, name: str, text: str, message: str) -> None:
    written(tmp_path / "TS_1.tlt", "-60\n-30\n0\n30\n60\n")
    with pytest.raises(InputError, match=message) as refused:
        read_tilt_range(written(tmp_path / name, text))
    assert str(tmp_path) in str(refused.value)


@given(
    name=st.sampled_from(["a.aln", "a.mdoc", "tilt.com", "a.tlt"]),
    place=st.floats(0, 1),
    junk=st.text("0123456789.,-\t\n []=#;xeTilt\u00e9", max_size=6),
    cut=st.integers(0, 12),
)
@settings(FEW, max_examples=250)
def test_mutated_files_are_read_or_refused(tmp_path: Path, name: str, place: float, junk: str, cut: int) -> None:
    written(tmp_path / "TS_1.tlt", "-60\n-30\n0\n30\n60\n")
    text = {"a.aln": ALN, "a.mdoc": MDOC, "tilt.com": TILT_COM, "a.tlt": "-60 1\n-30 2\n0 3\n"}[name]
    at = int(place * len(text))
    try:
        low, high = read_tilt_range(written(tmp_path / name, text[:at] + junk + text[at + cut :]))
    except InputError as error:
        assert str(tmp_path) in str(error)
    else:
        assert -90 <= low < high <= 90


@pytest.mark.parametrize(
    ("tomogram", "file"),
    [
        ("TS_1_Vol", "TS_1.aln"),
        ("TS_1_EVN_Vol", "TS_1.st.aln"),
        ("rec_TS_1", "TS_1.mrc.mdoc"),
        ("rec_TS_1", "TS_1.TLT"),
        ("TS_1_rec", "TS_1.mdoc"),
        ("TS_1_full_rec", "TS_1/tilt.com"),
        ("TS_1", "TS_1.tomostar"),
        ("rec_TS_1_rec", "TS_1.tlt"),
    ],
)
def test_tomograms_are_matched_to_their_angles(tmp_path: Path, tomogram: str, file: str) -> None:
    path = written(tmp_path / file, "")
    assert find_tilts(tmp_path, tomogram) == path
    assert find_tilts(tmp_path, f"x{tomogram}") is None


def test_two_names_that_fit_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "rec_a.tlt", ""), written(tmp_path / "a_Vol.tlt", "")
    with pytest.raises(InputError, match=r"rec_a\.tlt and a_Vol\.tlt could both be the angles of rec_a_Vol"):
        find_tilts(tmp_path, "rec_a_Vol")
    exact = written(tmp_path / "rec_a_Vol.tlt", "")
    assert find_tilts(tmp_path, "rec_a_Vol") == exact
