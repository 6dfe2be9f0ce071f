"""Whatever stands in a header or a list: a reason that names the file, never a traceback or a half-written result."""

import os
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from commanding import SHAPE, SHORT_TRAINING, refusal, run, small_model, volume
from mwr_hpc.errors import InputError
from mwr_hpc.io.mrc import open_mrc
from mwr_hpc.io.star import read_tomogram_list
from mwr_hpc.missing_wedge.cohort import cohort_from_list

TRAIN = ["train", "--input_dir", "in", "--run_dir", "run", *SHORT_TRAINING]
FUZZED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=100)


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("MWR_HPC_")]:
        monkeypatch.delenv(name)


def patched(path: Path | str, offset: int, kind: str, *values: float) -> Path:
    path = volume(path)
    with path.open("r+b") as stream:
        stream.seek(offset)
        stream.write(struct.pack(f"<{kind}", *values))
    return path


def cut(path: Path) -> None:
    """Take the last byte away: of a header that announces too much and a size that fits without it, all is read."""
    path.write_bytes(path.read_bytes()[:-1])


WORDS = st.one_of(
    st.integers(-(2**31), 2**31 - 1).map(lambda value: struct.pack("<i", value)),
    st.floats(width=32).map(lambda value: struct.pack("<f", value)),
    st.binary(min_size=4, max_size=4),
)


@FUZZED
@given(
    changes=st.dictionaries(st.integers(0, 255), WORDS, min_size=1, max_size=6), cut=st.integers(0, 1100) | st.none()
)
@example(changes={0: struct.pack("<i", 2**31 - 1)}, cut=None)
@example(changes={23: struct.pack("<i", -4)}, cut=None)
@example(changes={23: struct.pack("<i", 2**31 - 1)}, cut=None)
@example(changes={10: struct.pack("<f", float("nan"))}, cut=None)
def test_any_header_is_read_or_refused_by_name(changes: dict[int, bytes], cut: int | None) -> None:
    content = bytearray(volume("a.mrc").read_bytes())
    for word, value in changes.items():
        content[4 * word : 4 * word + 4] = value
    Path("a.mrc").write_bytes(content[:cut])
    try:
        opened = open_mrc(Path("a.mrc"))
        read = np.asarray(opened.data[:1])
    except InputError as error:
        assert "a.mrc" in str(error)
    else:
        assert read.shape[1:] == opened.shape[1:]
        assert all(np.isfinite(size) and size >= 0 for size in opened.voxel_size)


STAR = """data_{block}

loop_
_rlnMicrographName #1
_rlnTomoName #2
_{pixel} #3
_mwrTiltMin #4
_mwrTiltMax #5
in/a.mrc a 10.0 -60 60
in/b.mrc b 10.0 -60 60
"""
LISTS = {
    "own": STAR.format(block="", pixel="rlnTomogramPixelSize"),
    "IsoNet": "data_\n\nloop_\n_rlnIndex #1\n_rlnMicrographName #2\n_rlnPixelSize #3\n_rlnDefocus #4\n"
    "_rlnNumberSubtomo #5\n_rlnMaskName #6\n1 in/a.mrc 10.0 0.0 100 None\n2 in/b.mrc 10.0 0.0 100 None\n",
    "RELION": "data_global\n\nloop_\n_rlnTomoName #1\n_rlnTomoReconstructedTomogram #2\n"
    "_rlnTomoTiltSeriesPixelSize #3\n_rlnTomoTomogramBinning #4\na in/a.mrc 2.5 4.0\nb in/b.mrc 2.5 4.0\n",
}


@pytest.mark.parametrize("kind", LISTS)
@FUZZED
@given(data=st.data())
def test_any_list_is_read_or_refused_by_name(kind: str, data: st.DataObject) -> None:
    Path("in").mkdir(exist_ok=True)
    for name in ("a", "b"):
        if not Path(f"in/{name}.mrc").exists():
            volume(f"in/{name}.mrc")
    text = LISTS[kind].encode()
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(text)))
        gone = data.draw(st.integers(0, 12))
        new = data.draw(
            st.binary(max_size=6) | st.sampled_from([b"\n", b" ", b"nan", b"-1", b"loop_\n", b"data_x\n", b"'"])
        )
        text = text[:at] + new + text[at + gone :]
    Path("list.star").write_bytes(text)
    for read in (read_tomogram_list, lambda path: cohort_from_list(path, (-60.0, 60.0))):
        try:
            read(Path("list.star"))
        except InputError as error:
            assert "list.star" in str(error) or "/in/" in str(error) or "no mask" in str(error), error


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: patched("in/a.mrc", 12, "i", 99), "mode"),
        (lambda: cut(patched("in/a.mrc", 92, "i", -4)), "extended header"),
        (lambda: cut(patched("in/a.mrc", 92, "i", 4096)), "truncated"),
        (lambda: patched("in/a.mrc", 0, "i", 2**31 - 1), "truncated"),
        (lambda: patched("in/a.mrc", 64, "3i", 2, 1, 3), "in/a.mrc"),
        (lambda: patched("in/a.mrc", 40, "f", float("nan")), "in/a.mrc"),
        (lambda: Path("in/a.mrc").symlink_to("a.mrc"), "in/a.mrc"),
        (lambda: os.mkfifo("in/a.mrc"), "a pipe or a device, expected a file"),
        (lambda: Path("in/a.mrc").mkdir(), "in"),
    ],
    ids=["mode", "negative extension", "long extension", "width", "axes", "NaN size", "loop", "fifo", "folder"],
)
def test_each_hostile_file_is_refused_and_nothing_is_written(make: object, says: str) -> None:
    Path("in").mkdir()
    make()
    small_model("model.h5")
    for words in (TRAIN, ["predict", "model.h5", "in", "--out", "out"], ["convert", "in", "--out", "out"]):
        message = refusal(*words)
        assert says in message, message


def test_names_that_are_no_text() -> None:
    volume("in/good.mrc")
    os.rename(b"in/good.mrc", b"in/caf\xe9.mrc")
    ended = run("convert", "in", "--out", "out", "--preprocessing_ncpus", 1)
    assert ended.code in (0, 1, 2) and "Traceback" not in ended.err, ended


def test_a_mask_without_a_place() -> None:
    volume("in/a.mrc")
    mask = np.zeros(SHAPE, np.int8)
    mask[0] = 1
    volume("masks/a.mrc", mask)
    ended = run(*TRAIN, "--mask_dir", "masks")
    assert ended.code == 2 and "no place" in ended.err and "Traceback" not in ended.err, ended


@pytest.mark.parametrize(
    "words",
    [
        ("train", "--tomograms", "pipe.star"),
        ("predict", "pipe.h5", "in"),
        ("convert", "pipe.mrc"),
        ("train", "--input_dir", "in", "--pretrained_model", "pipe.h5"),
    ],
)
def test_a_pipe_is_refused_and_not_waited_for(words: tuple[str, ...]) -> None:
    volume("in/a.mrc")
    for suffix in ("star", "h5", "mrc"):
        os.mkfifo(f"pipe.{suffix}")
    assert "is a pipe or a device" in refusal(*words)
