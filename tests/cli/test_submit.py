"""`mwr-hpc submit` on a host without SLURM: what it would submit, and what it refuses."""

import json
from pathlib import Path

import pytest
import yaml

from commanding import refusal, run, small_model, volume
from mwr_hpc.cluster.job_name import JobName, run_tag
from mwr_hpc.cluster.slurm import Job, Slurm
from mwr_hpc.pipeline.lock import RunLock
from mwr_hpc.pipeline.training_job import require_no_job


@pytest.fixture(autouse=True)
def _work(tmp_path, monkeypatch):
    """An empty folder with a tomogram, a model and a site file."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MWR_HPC_SITE", raising=False)
    volume("in/a.mrc")
    training = {"nodes": 2, "cores": 4, "gpus": "a100:2", "account": "lab"}
    Path("site.yaml").write_text(yaml.safe_dump({"slurm": {"partition": "gpu", "training": training}}))


TRAIN = ("submit", "train", "--input_dir", "in", "--site", "site.yaml")


def test_dry_run_shows_what_would_be_submitted_and_does_nothing():
    before = sorted(Path().rglob("*"))
    ended = run(*TRAIN, "--dry-run")
    assert (ended.code, ended.err) == (0, "")
    coordinator, training = [line for line in ended.out.splitlines() if "sbatch --parsable" in line]
    assert "coordinator.sbatch train --input_dir in --site site.yaml" in coordinator
    assert "--partition=gpu" in coordinator and "--dry-run" not in coordinator
    assert "--nodes=2" in training and "--ntasks-per-node=2" in training and "--cpus-per-task=2" in training
    assert "--account=lab" in training and "--gres=gpu:a100:2" in training and "train.sbatch" in training
    assert "#!/usr/bin/env bash" in ended.out and "tls://COORDINATOR" in ended.out
    assert sorted(Path().rglob("*")) == before


def test_a_sweep_as_an_array():
    small_model("m.h5")
    ended = run("submit", "predict", "m.h5", "in", "--site", "site.yaml", "--dry-run", "--array", "8")
    assert ended.code == 0, ended.err
    assert "--array=0-7" in ended.out and ended.out.rstrip().endswith("predict_sweep.sbatch m.h5 in --site site.yaml")


PICK = (
    "submit",
    "boxnet",
    "pick",
    "--micrographs",
    "in",
    "--model",
    "m.h5",
    "--diameter",
    "190",
    "--site",
    "site.yaml",
)


def test_picking():
    ended = run(*PICK, "--dry-run")
    assert ended.code == 0, ended.err
    coordinator = next(line for line in ended.out.splitlines() if "sbatch --parsable" in line)
    assert "coordinator.sbatch boxnet pick --micrographs in --model m.h5" in coordinator
    assert f"{Path.cwd()}/in/.mwr_hpc/logs/coordinator.out" in coordinator
    assert "--nworkers 8" in ended.out  # one for each core of the site's workers
    ended = run(*PICK, "--dry-run", "--array", "3")
    assert "--array=0-2" in ended.out and "boxnet_pick.sbatch --micrographs in --model m.h5" in ended.out


def test_retraining():
    Path("examples").mkdir()
    words = ("--parent", "scratch", "--name", "MyNet", "--examples", "examples", "--corpus", "none")
    ended = run("submit", "boxnet", "retrain", *words, "--site", "site.yaml", "--dry-run")
    assert ended.code == 0, ended.err
    coordinator, training = [line for line in ended.out.splitlines() if "sbatch --parsable" in line]
    assert "coordinator.sbatch boxnet retrain --parent scratch" in coordinator
    assert "boxnet_run/MyNet/iterations" in training and "--nodes=2" in training


ONLY = "only train, predict, boxnet retrain, boxnet pick, boxnet simulate"
SIMULATE = "boxnet simulate mics --number 2"
ONE_NODE = [
    (SIMULATE, "mics/.mwr_hpc/logs/simulate.out"),
    (
        "boxnet examples prepare in --diameter 190",
        "in/boxnet2training/examples.zarr/.mwr_hpc/logs/examples-prepare.out",
    ),
    ("boxnet examples prepare in --diameter 190 --out x.zarr", "x.zarr/.mwr_hpc/logs/examples-prepare.out"),
    ("boxnet evaluate in --truth in --json", "in/.mwr_hpc/logs/evaluate.out"),
    ("boxnet train-generic --name New --ranks 2", "boxnet_run/New/logs/train-generic.out"),
]


@pytest.mark.parametrize(("command", "log"), ONE_NODE)
def test_what_works_within_one_node_is_one_job(command, log):
    before = sorted(Path().rglob("*"))
    ended = run("submit", *command.split(), "--site", "site.yaml", "--dry-run")
    assert (ended.code, ended.err) == (0, "")
    (line,) = ended.out.splitlines()
    assert line.endswith(f"one_node.sbatch {command} --site site.yaml")
    assert f"--output={Path.cwd() / log} " in line and "--nodes=1 --ntasks=1" in line and "--partition=gpu" in line
    assert ("--gres=gpu:a100:2" in line) == ("train-generic" in line)
    assert sorted(Path().rglob("*")) == before


def test_the_other_spelling_and_the_site_of_the_environment(monkeypatch):
    monkeypatch.setenv("MWR_HPC_SITE", "site.yaml")
    ended = run("submit", "boxnet", "train_generic", "--name", "New", "--dry-run", "--slurm")
    assert ended.code == 0, ended.err
    assert ended.out.endswith("one_node.sbatch boxnet train-generic --name New\n")


class Sbatch(Slurm):
    """A SLURM that takes every job, and has those of `queue`."""

    queue = ()

    def own_jobs(self):
        return list(self.queue)

    def submit(self, argv, name):
        return "7"


@pytest.fixture
def sbatch(monkeypatch):
    monkeypatch.setattr("mwr_hpc.cluster.slurm.Slurm", Sbatch)
    return Sbatch


@pytest.mark.parametrize(("command", "log"), ONE_NODE)
def test_how_to_watch_is_only_what_works(sbatch, command, log):
    ended = run("submit", *command.split(), "--site", "site.yaml")
    assert ended.code == 0, ended.err
    status = "  mwr-hpc status boxnet_run/New --watch\n" if "generic" in command else ""
    assert ended.out == f"Submitted job 7\nWatch it:\n{status}  tail -F {Path.cwd() / log}\n"
    assert Path(log).parent.is_dir() and list(Path(log).parents[1].glob("jobs/*.json"))


@pytest.mark.parametrize(
    ("unit", "watch"), [("simulate", "Wait for it"), ("evaluate", "Wait for it"), ("coordinator", "`mwr-hpc status")]
)
def test_a_folder_with_a_job_is_refused(sbatch, monkeypatch, unit, watch):
    job = Job("5", "PENDING", str(JobName(run_tag(Path.cwd() / "mics"), unit)))
    monkeypatch.setattr(sbatch, "queue", (job,))
    message = refusal("submit", *SIMULATE.split(), "--site", "site.yaml")
    assert f"a job already, 5 ({unit}), which is PENDING" in message and watch in message
    assert "`mwr-hpc cancel" in message


def test_a_training_on_one_node_is_not_in_its_own_way(sbatch, monkeypatch):
    monkeypatch.setattr("mwr_hpc.pipeline.training_job.Slurm", sbatch)
    assert run("submit", "boxnet", "train-generic", "--name", "New", "--site", "site.yaml").code == 0
    folder = Path.cwd() / "boxnet_run/New"
    name = json.loads((folder / "jobs/train-generic.json").read_text())["name"]
    monkeypatch.setattr(sbatch, "queue", (Job("7", "RUNNING", name),))
    require_no_job(folder, folder / "jobs", run_tag(folder))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("submit", "convert"), ONLY),
        (("submit", "boxnet", "demo"), ONLY),
        (("submit", "boxnet", "examples"), ONLY),
        (("submit", *SIMULATE.split(), "--array", "2"), "only predict and boxnet pick can be shared"),
        (("submit", *SIMULATE.split(), "--in_allocation"), "unknown option '--in_allocation'"),
        (("submit", *SIMULATE.split(), "--json"), "unknown option '--json'"),
        (("submit", *SIMULATE.split()), "MWR_HPC_SITE"),
        (("submit", "boxnet", "evaluate", "in", "--site", "site.yaml"), "found no truth"),
        (("submit", "boxnet", "simulate", "in/a.mrc", "--site", "site.yaml"), "a.mrc is no folder"),
        ((*TRAIN, "--run_dir", "in/a.mrc"), "a.mrc is no folder"),
        (("submit", "train", "--input_dir", "in"), "MWR_HPC_SITE"),
        ((*TRAIN, "--nucbe", "3"), "did you mean '--ncube'"),
        ((*TRAIN, "--in_allocation"), "--slurm and --in_allocation"),
        ((*TRAIN, "--array", "2"), "only predict and boxnet pick can be shared"),
        (("submit", "predict", "--array", "many"), "expected the number of elements"),
        (("train", "--input_dir", "in", "--slurm", "--ranks", "3", "--site", "site.yaml"), "make 4 ranks"),
        (("train", "--input_dir", "in", "--slurm", "--batch_normalization", "--site", "site.yaml"), "with 4 ranks"),
        (("status", "in"), "no run of `mwr-hpc train` or `predict`"),
    ],
)
def test_refusals(words, says):
    assert says in refusal(*words)


def test_outside_of_a_job_there_is_no_allocation(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_CPUS_PER_NODE", raising=False)
    ended = run("train", "--input_dir", "in", "--in_allocation")
    assert ended.code == 70 and "this is no job of SLURM" in ended.err


def test_a_run_at_work_is_not_cancelled_from_outside(monkeypatch):
    monkeypatch.setattr("mwr_hpc.cluster.slurm.Slurm.own_jobs", lambda self: [])
    with RunLock(Path("run/lock.json")):
        assert "at work in process" in refusal("cancel", "run")


def test_the_job_of_a_script_for_mwr_trains_with_the_manual_s_settings(monkeypatch):
    """The job runs under another program name, so the words say what the name implies."""
    assert "--preset" not in run(*TRAIN, "--dry-run").out
    monkeypatch.setattr("sys.argv", ["/env/bin/mwr_cli.py"])
    assert "--site site.yaml --preset mwr" in run(*TRAIN, "--dry-run").out
    assert run(*TRAIN, "--preset", "small", "--dry-run").out.count("--preset") == 1
