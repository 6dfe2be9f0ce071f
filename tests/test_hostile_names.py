"""Names of files that would clear a terminal, forge a line or hide an ending are shown as what they are."""

import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest

from commanding import Ended, run, small_model, volume
from mwr_hpc.cluster.pool import InlinePool
from mwr_hpc.io.picks import read_picks
from mwr_hpc.pipeline import backend, conversion
from picking import micrograph, spot_model

FORGED = "Done: 9 results in nowhere"
NAMES = [
    "clear\x1b[2J",
    f"line\n{FORGED}",
    "carriage\rreturn",
    "order\u202ecrm",
    "[bold]markup",
    "bytes\udcff",
    "next\x85line\u2028",
    "Grüße_日本_ру",
]
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


@pytest.fixture(autouse=True)
def _in_an_empty_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for module in (backend, conversion):
        monkeypatch.setattr(module, "local_pool", lambda workers: nullcontext(InlinePool()))


def require_escaped(*texts: str) -> None:
    for text in texts:
        assert RAW.findall(text) == []
        assert not [line for line in text.split("\n") if line.startswith(FORGED)]


def told(ended: Ended, *pieces: str) -> None:
    """Require that a command's output is escaped, and that it names some things."""
    require_escaped(ended.out, ended.err)
    for piece in pieces:
        assert piece in ended.out + ended.err


def logs_below(folder: Path) -> list[str]:
    files = [
        path for path in folder.rglob("*") if path.suffix in (".log", ".csv", ".jsonl") or path.name == "results.star"
    ]
    return [path.read_text() for path in files]


def test_tomograms_by_all_commands_that_take_them() -> None:
    for number, name in enumerate(NAMES):
        volume(Path("in") / f"{name}.mrc", seed=number)
        (Path("broken") / f"{name}.mrc").parent.mkdir(exist_ok=True)
        (Path("broken") / f"{name}.mrc").write_bytes(b"no volume")
    model = small_model("model.h5")
    escaped = (r"clear\x1b[2J", r"line\n", r"carriage\rreturn", r"order\u202ecrm", r"bytes\xff", "Grüße_日本_ру")
    told(run("check", "in", "--tilt_range", "-60", "60"), r"bytes\xff", "Grüße_日本_ру", "[bold]markup")
    told(run("check", "broken", "--tilt_range", "-60", "60"), *escaped)
    told(run("cohort", "in", "--out", "all.star"), r"line\n", r"bytes\xff")
    told(run("cohort", "broken", "--out", "none.star"), r"clear\x1b[2J")
    for folder in ("in", "broken"):
        files = sorted(Path(folder).iterdir())
        ended = run("convert", *files, "--out", f"converted_{folder}")
        told(ended, *(escaped if folder == "broken" else ()))
        told(run("predict", model, *files, "--out", f"out_{folder}", "--tilt_range", "-60", "60"))
        told(run("status", f"out_{folder}"))
    texts = [text for folder in ("out_in", "out_broken") for text in logs_below(Path(folder))]
    assert texts
    require_escaped(*texts)


def test_a_path_that_is_not_there_is_named() -> None:
    for name in NAMES:
        told(run("convert", f"nowhere/{name}.mrc", "--out", "x"))
        told(run("check", f"nowhere/{name}.star"))
        told(run("status", f"nowhere/{name}"))
        told(run(name))


def test_micrographs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MWR_HPC_MODELS", str(tmp_path / "models"))
    spot_model(Path("models") / "spots.h5")
    for number, name in enumerate(NAMES[:-1]):
        micrograph(Path("m") / f"{name}.mrc", number)
    (Path("m") / "broken\x1b[2J.mrc").write_bytes(b"nothing")
    told(
        run("boxnet", "pick", "--micrographs", "m", "--model", "spots", "--diameter", "96"),
        *(r"broken\x1b[2J", r"bytes\xff.mrc: no list of particles", r"line\n"),
    )
    assert {"order\u202ecrm.mrc", "clear\x1b[2J.mrc"} <= set(read_picks(Path("m/picks_spots.star")).micrographs or ())
    told(run("status", "m"), r"broken\x1b[2J")
    require_escaped(*logs_below(Path("m")))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_a_process_on_a_terminal_of_any_encoding(encoding: str) -> None:
    """The streams of a process refuse what its encoding lacks, which those of the other tests do not."""
    folder = Path("".join(NAMES))
    folder.mkdir()
    (folder / "a.mrc").write_bytes(b"no volume")
    ended = subprocess.run(
        [sys.executable, "-m", "mwr_hpc.cli.main", "cohort", os.fsencode(folder), "--out", "x.star"],
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
        check=False,
    )
    assert ended.returncode == 2
    error = ended.stderr.decode(encoding)
    require_escaped(error)
    assert r"bytes\xff" in error and ("Grüße_日本_ру" if encoding == "utf-8" else r"Grüße_\u65e5\u672c_") in error
