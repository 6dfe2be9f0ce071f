"""`mwr-hpc submit` on a host without SLURM: what it would submit, and what it refuses."""

from pathlib import Path

import pytest
import yaml

from commanding import refusal, run, small_model, volume
from mwr_hpc.pipeline.lock import RunLock


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


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("submit", "convert"), "only train, predict, boxnet retrain, boxnet pick can be submitted"),
        (("submit", "boxnet", "evaluate"), "only train, predict, boxnet retrain, boxnet pick can be submitted"),
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
