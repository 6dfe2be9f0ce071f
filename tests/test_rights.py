"""Files and folders that there is no right to read or write, or that cannot be made: one message, nothing written."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from commanding import SHORT_TRAINING, refusal, small_model, volume

TRAIN = ["train", "--input_dir", "in", "--run_dir", "run", *SHORT_TRAINING]


@pytest.fixture(autouse=True)
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()


def test_output_that_is_a_file_or_leads_through_one():
    volume("in/a.mrc")
    small_model("model.h5")
    Path("taken").touch()
    for out in ("taken", "taken/inside"):
        for words in (
            ["train", "--input_dir", "in", *SHORT_TRAINING, "--run_dir", out],
            [*TRAIN, "--result_dir", out],
            ["predict", "model.h5", "in", "--out", out],
            ["convert", "in", "--out", out],
            ["simulate", "tomogram", "--shape", 16, 16, 16, "--out", out],
        ):
            message = refusal(*words)
            assert f"{Path(out).absolute()}: {Path('taken').absolute()} is no folder; name a folder" in message


def test_a_folder_that_the_system_refuses():
    """Whatever the rights say: no folder can be made in /proc."""
    volume("in/a.mrc")
    assert "/proc/x/.mwr_hpc: cannot be made" in refusal("make-mask", "in", "/proc/x")


DROPS_ROOT = """
import ctypes, json, sys
for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: with these root may read and write everything
    ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)
import os
if sys.argv[1] == "again":
    os.execv(sys.executable, [sys.executable, __file__, "now", *sys.argv[2:]])
from commanding import refusal
print(json.dumps([refusal(*words) for words in json.loads(sys.argv[2])]))
"""


def test_no_right_to_read_or_write():
    volume("in/a.mrc")
    volume("closed/a.mrc")
    volume("unreadable/a.mrc").chmod(0)
    for path in (small_model("model.h5"), volume("closed.mrc"), small_model("closed.h5")):
        path.chmod(0o600 if path.name == "model.h5" else 0)
    Path("linked").mkdir()
    Path("linked/a.mrc").symlink_to(Path("closed/a.mrc").absolute())
    Path("closed.star").write_text("data_\n\nloop_\n_rlnMicrographName\nclosed/a.mrc\n")
    Path("locked").mkdir()
    Path("locked").chmod(0o555)
    Path("closed").chmod(0)
    cases = [
        (["train", "--input_dir", "closed"], "--input_dir {here}/closed (command line): no right to read it"),
        (["train", "--input_dir", "unreadable"], "{here}/unreadable/a.mrc: cannot be read (Permission denied)"),
        (["train", "--input_dir", "linked"], "{here}/linked/a.mrc: cannot be read (Permission denied)"),
        (["cohort", "linked"], "{here}/linked/a.mrc: cannot be read (Permission denied)"),
        (["cohort", "closed.star"], "{here}/closed/a.mrc: cannot be read (Permission denied)"),
        (["convert", "closed/a.mrc"], "--inputs closed/a.mrc (command line): cannot be used as a path (Perm"),
        (["convert", "closed.mrc"], "--inputs {here}/closed.mrc (command line): no right to read it"),
        (["predict", "closed.h5", "in"], "--models {here}/closed.h5 (command line): no right to read it"),
        ([*TRAIN[:4], "locked/run", *SHORT_TRAINING], "{here}/locked/run: no right to write to {here}/locked"),
        (["predict", "model.h5", "in", "--out", "locked"], "{here}/locked: no right to write to {here}/locked"),
        (["convert", "in", "--out", "locked/out"], "{here}/locked/out: no right to write to {here}/locked"),
        (["simulate", "tomogram", "--out", "locked/out"], "{here}/locked/out: no right to write to {here}/locked"),
    ]
    program = Path("drops_root.py")
    program.write_text(DROPS_ROOT)
    words = json.dumps([list(map(str, case)) for case, _ in cases])
    ended = subprocess.run(
        [sys.executable, program, "again", words],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
    )
    assert ended.returncode == 0, ended.stderr
    for message, (_, says) in zip(json.loads(ended.stdout), cases, strict=True):
        assert says.format(here=Path.cwd()) in message
