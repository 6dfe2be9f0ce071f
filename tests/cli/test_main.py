"""Tests of the program: help, exit codes, messages, and what is not imported before it is needed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from mwr_hpc import __version__
from mwr_hpc.cli import convert, running
from mwr_hpc.cli.main import main
from mwr_hpc.config.loading import PREFIX
from mwr_hpc.config.schema import COMMANDS
from mwr_hpc.errors import ClusterError, InputError, StageError, StopRequested
from mwr_hpc.events import UnitFailed

COMMAND_LINES = {command: command.split() for command in COMMANDS} | {"simulate": ["simulate", "tomogram"]}


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch, tmp_path):
    """Work in an empty folder, without options from the environment, on a wide screen."""
    for variable in list(os.environ):
        if variable.startswith(PREFIX):
            monkeypatch.delenv(variable)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERMINAL_WIDTH", "200")
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def run(capsys):
    def run(*words):
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


@pytest.mark.parametrize("words", ["--help", "--version", "train --help", "config show train --input_dir t"])
def test_what_needs_no_computing_imports_nothing_heavy(words):
    program = (
        "import sys\nfrom mwr_hpc.cli.main import main\n"
        f"try:\n    main({words.split()!r})\nexcept SystemExit as ended:\n    assert ended.code == 0\n"
        "print([name for name in ('tensorflow', 'keras', 'dask', 'distributed', 'zarr') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(run):
    assert run("--version") == (0, f"mwr-hpc {__version__}\n", "")


def test_help_lists_the_commands(run):
    code, out, _ = run("--help")
    assert code == 0
    for command in {name.split()[0] for name in [*COMMANDS, "config"]}:
        assert f"│ {command} " in out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_teaches_every_option(run, command):
    code, out, _ = run(*COMMAND_LINES[command], "--help")
    assert code == 0
    assert f"  mwr-hpc {' '.join(COMMAND_LINES[command])}" in out
    for name, field in COMMANDS[command].options().items():
        assert f"--{name} " in out or name.upper().removesuffix("S") in out
        assert field.description.split(";")[0].split(",")[0] in out


def test_help_groups_options_with_defaults_and_units(run):
    _, out, _ = run("train", "-h")
    for group in ("Input", "Method", "Network", "Training", "Noise", "Resources"):
        assert f"╭─ {group} ─" in out
    assert "[default: 64 voxels]" in out
    assert "[default: from the list, else -60 60]" in out
    assert "[default: 1.5 x cube_size]" in out
    assert "Also --step_per_epoch." in out


@pytest.mark.parametrize("command", COMMANDS)
def test_examples_in_the_help_can_be_read(run, command):
    _, out, _ = run(*COMMAND_LINES[command], "--help")
    start = f"mwr-hpc {' '.join(COMMAND_LINES[command])} "
    examples = [line.strip() for line in out.splitlines() if line.strip().startswith(start)]
    assert examples
    for example in examples:
        assert run("config", "show", *command.split(), *example.removeprefix(start).split())[0] == 0


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train", "found no input"),
        ("train --input_dir nowhere", "--input_dir {here}/nowhere (command line): does not exist; expected a folder"),
        ("train --input_dir file", "is a file; expected a folder"),
        ("train --input_dir . --mask_dir nowhere", "--mask_dir"),
        ("train --input_dir . --pretrained_model .", "is a folder; expected a file"),
        ("train --input_dir . --cube_size 60", "use 56 or 64"),
        ("train --input_dir . --tilt_range 60 -60", "--tilt_range 60 -60 (command line)"),
        ("train --input_dir . --nucbe 300", "did you mean '--ncube'"),
        ("train --input_dir . --config nowhere.yaml", "nowhere.yaml"),
        ("predict", "found no model"),
        ("predict a.h5 file", "--models {here}/a.h5 (command line): does not exist; expected a file"),
        ("evaluate file", "--tilt_range -60 60"),
        ("convert", "found no input"),
        ("simulate tomogram --shape 20 30", "--shape"),
        ("simulate tomogram --snr 0", "more than 0"),
        ("trian", "No such command 'trian'"),
    ],
)
def test_mistakes_end_with_2_and_one_message(run, tmp_path, line, says):
    Path("file").touch()
    code, out, err = run(*line.split())
    assert (code, out) == (2, "")
    assert says.format(here=tmp_path) in err
    assert "Traceback" not in err
    assert sorted(Path().iterdir()) == [Path("file")]  # nothing half-written


def test_a_bug_is_not_dressed_up_nor_taken_for_a_few_failures(run, monkeypatch):
    def fail(given):
        raise ZeroDivisionError

    monkeypatch.setattr(convert, "settings_from", lambda model, given: fail(given))
    code, _, err = run("convert", "a.mrc")
    assert code == 70
    assert "Traceback" in err and "ZeroDivisionError" in err and "please report" in err


def test_ctrl_c_before_the_work_is_a_stop_and_not_a_few_failures(run, monkeypatch):
    def interrupted(model, given):
        raise KeyboardInterrupt

    monkeypatch.setattr(convert, "settings_from", interrupted)
    assert run("convert", "a.mrc")[0] == 85


def test_the_help_tells_the_exit_codes(run):
    out = run("--help")[1]
    assert all(f"  {code}  " in out for code in (0, 1, 2, 70, 85))


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (InputError("a.mrc is cut off"), 2, "Error: a.mrc is cut off"),
        (StageError("ended without its result"), 70, "Error: ended without its result"),
        (ClusterError("rank 1 was killed"), 70, "Error: rank 1 was killed"),
        (StopRequested("in train"), 85, "same command again"),
    ],
)
def test_deliberate_errors_have_their_exit_codes(run, monkeypatch, error, code, says):
    def fail(model, given):
        raise error

    monkeypatch.setattr(convert, "settings_from", fail)
    ended, _, err = run("convert", "a.mrc")
    assert ended == code
    assert says in err


def test_config_show_gives_origins(run, monkeypatch):
    Path("c.yaml").write_text("cube_size: 48\n")
    monkeypatch.setenv("MWR_HPC_EPOCHS", "3")
    code, out, _ = run("config", "show", "--config", "c.yaml", "--flip-tilt")
    assert code == 0
    lines = out.splitlines()
    assert "cube_size: 48  # config file c.yaml" in lines
    assert "crop_size: 72  # default (1.5 x cube_size)" in lines
    assert "epochs: 3  # environment variable MWR_HPC_EPOCHS" in lines
    assert "flip_tilt: True  # command line" in lines
    assert "input_dir: None  # default" in lines


@pytest.mark.parametrize("command", COMMANDS)
def test_config_show_as_json(run, command):
    code, out, _ = run("config", "show", command, "--json")
    shown = json.loads(out)
    assert code == 0
    assert list(shown) == list(COMMANDS[command].options())
    assert all(set(entry) == {"value", "origin"} for entry in shown.values())


def test_report_names_results_failures_and_the_next_command(capsys):
    running.report({"b": "is constant"}, [Path("/r/m1.h5"), Path("/r/m2.h5")], ["mwr-hpc", "predict", "/a b/m2.h5"])
    printed = capsys.readouterr()
    assert "2 results, the last m2.h5, in /r" in printed.out
    assert "mwr-hpc predict '/a b/m2.h5'" in printed.out
    assert "b: is constant" in printed.err


def coordinator(monkeypatch, train):
    """Put a coordinator in place of the real one, which would need TensorFlow."""
    monkeypatch.setitem(sys.modules, "mwr_hpc.pipeline.coordinator", SimpleNamespace(train=train))


def test_train_reports_what_failed_and_what_to_do_next(run, monkeypatch):
    def train(settings, emit, should_stop, backend):
        assert settings.cube_size == 32
        emit(UnitFailed("convert", "bad", "is constant"))
        model = settings.result_dir / "model_iter02.h5"
        return SimpleNamespace(failed={"bad": "is constant"}, results=[model], untrained={}, exit_code=1)

    coordinator(monkeypatch, train)
    code, out, err = run("train", "--input_dir", ".", "--cube-size", "32", "--run_dir", "r")
    assert code == 1
    assert "convert: bad is left out: is constant" in err
    run_dir = Path("r").absolute()
    assert f"mwr-hpc predict {run_dir}/results/model_iter02.h5 --tomograms {run_dir}/tomograms.star" in out


def test_sigterm_stops_in_good_order(run, monkeypatch):
    def train(settings, emit, should_stop, backend):
        assert not should_stop()
        os.kill(os.getpid(), signal.SIGTERM)
        assert should_stop()
        raise StopRequested("2 of 3 units are done and kept")

    before = signal.getsignal(signal.SIGTERM)
    coordinator(monkeypatch, train)
    code, _, err = run("train", "--input_dir", ".")
    assert code == 85
    assert "2 of 3 units are done and kept" in err
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_program_goes_by_the_name_of_mwr_too(run, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/env/bin/mwr_cli.py"])
    assert "Usage: mwr_cli.py train" in run("train", "--help")[1]


SMALL_TOMOGRAM = ["--shape", "16", "24", "24", "--particles", "1", "--membranes", "0", "--gold", "0"]


def test_simulate_then_evaluate(run):
    code, out, err = run("simulate", "tomogram", "--out", "p", *SMALL_TOMOGRAM)
    assert (code, "Traceback" in err) == (0, False)
    following = out.splitlines()[-1].split()
    assert following[:2] == ["mwr-hpc", "evaluate"]
    code, out, _ = run(*following[1:])
    assert code == 0
    assert "correlation, missing: " in out
    assert "Fourier shell correlation, " in out
    _, out, _ = run("evaluate", "p/tomogram.mrc", "--before", "p/even.mrc", "--tilt_range", "-60", "60", "--json")
    figures = json.loads(out)
    assert figures["after"] is None
    assert 0 < figures["agreement"] <= 1


def test_evaluate_fails_on_inverted_contrast(run):
    run("simulate", "tomogram", "--out", "dark", *SMALL_TOMOGRAM)
    run("simulate", "tomogram", "--out", "bright", "--contrast", "bright", *SMALL_TOMOGRAM)
    line = "evaluate dark/tomogram.mrc --truth bright/truth.mrc --tilt_range -60 60"
    code, _, err = run(*line.split())
    assert code == 1
    assert "CONTRAST INVERTED" in err
