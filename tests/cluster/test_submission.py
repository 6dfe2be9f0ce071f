"""The command lines of jobs and the worker script: just what is asked for, and no value that a shell would act on."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mwr_hpc.cluster.job_name import JobName
from mwr_hpc.cluster.keys import Keys, make_keys
from mwr_hpc.cluster.slurm_pool import WorkerScript
from mwr_hpc.cluster.submission import (
    environment_words,
    job_script,
    one_node_argv,
    submit_argv,
    sweep_argv,
    training_argv,
)
from mwr_hpc.config.site import JobResources, SiteProfile, TrainingResources, WorkerResources

NAME = JobName("run1-0a1b2c3d", "coordinator")
SITE = SiteProfile(
    setup="/apps/mwr/setup.sh",
    interface="ib0",
    scratch="$TMPDIR/mwr",
    coordinator=JobResources(
        partition="long", account="lab", qos="high", constraint=("avx2", "ib"), walltime="1-0:00:00"
    ),
    training=TrainingResources(partition="gpu", gpus="a100:4", cores=32, memory="200G", nodes=2),
    preparation=WorkerResources(cores=8, memory="32G", walltime="4:00:00"),
)
SCRIPTS = ("coordinator", "train", "predict_sweep", "boxnet_pick", "run_in_allocation", "one_node")
COMMON = re.compile(
    r"^# -- The same in all job scripts -+\n(.*)^# -- The same in all job scripts, up to here", re.M | re.S
)


def test_the_coordinators_job() -> None:
    argv = submit_argv(SITE, "train", ["--run_dir", "a b; rm"], NAME, Path("/runs/100%/log.out"))
    assert argv == [
        *("env", f"MWR_PYTHON={sys.executable}", "MWR_SETUP=/apps/mwr/setup.sh"),
        *("sbatch", "--parsable", "--export=ALL", "--requeue", f"--job-name={NAME}", "--signal=B:USR1@180"),
        *("--output=/runs/100%%/log.out", "--open-mode=append"),
        *("--time=1-0:00:00", "--cpus-per-task=1", "--mem=4G", "--partition=long", "--account=lab", "--qos=high"),
        *("--constraint=avx2&ib", "--nodes=1", "--ntasks=1"),
        *(str(job_script("coordinator")), "train", "--run_dir", "a b; rm"),
    ]


def test_the_training_job_has_a_rank_for_each_gpu() -> None:
    argv = training_argv(SITE, Path("/run/rank_job.json"), NAME, Path("/run/x.out"))
    assert {"--nodes=2", "--ntasks-per-node=4", "--cpus-per-task=8", "--gres=gpu:a100:4", "--mem=200G"} <= set(argv)
    assert argv[-1] == "/run/rank_job.json"
    assert sum(word.startswith("--cpus-per-task") for word in argv) == 1


def test_what_works_within_one_node_gets_one_with_all_its_cores() -> None:
    argv = one_node_argv(SITE, "boxnet examples prepare", ["--out", "a b"], NAME, Path("/x.zarr/.mwr_hpc/logs/p.out"))
    assert argv[-6:] == [str(job_script("one_node")), "boxnet", "examples", "prepare", "--out", "a b"]
    assert {"--nodes=1", "--ntasks=1", "--cpus-per-task=8", "--mem=32G", "--time=4:00:00"} <= set(argv)
    argv = one_node_argv(SITE, "boxnet train-generic", ["--ranks", "4"], NAME, Path("/run/logs/g.out"))
    assert {"--nodes=1", "--ntasks=1", "--cpus-per-task=32", "--mem=200G", "--gres=gpu:a100:4"} <= set(argv)
    assert "--partition=gpu" in argv and not any(word.startswith("--ntasks-per-node") for word in argv)


def test_elements_of_a_sweep_write_files_of_their_own() -> None:
    argv = sweep_argv(SITE, "predict", ["model.h5"], NAME, Path("/run/sweep.out"), 10)
    assert {"--array=0-9", "--output=/run/sweep.%a.out"} <= set(argv)


def test_job_scripts_learn_python_and_set_up_file() -> None:
    assert environment_words(SITE)[1:] == [f"MWR_PYTHON={sys.executable}", "MWR_SETUP=/apps/mwr/setup.sh"]
    assert environment_words(SiteProfile()) == ["env", f"MWR_PYTHON={sys.executable}"]


def test_what_job_scripts_share_is_the_same_in_all() -> None:
    parts = {name: COMMON.search(job_script(name).read_text()) for name in SCRIPTS}
    assert all(parts.values())
    assert len({part[1] for part in parts.values() if part}) == 1


@pytest.mark.parametrize("name", SCRIPTS)
def test_job_scripts_are_complete_shell_scripts(name: str) -> None:
    assert subprocess.run(["bash", "-n", str(job_script(name))]).returncode == 0
    text = job_script(name).read_text()
    assert {"--signal=B:USR1@180", "--requeue", "--open-mode=append"} <= set(text.split())


def test_the_worker_script(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "it's $(mine)" / "certificate.pem", tmp_path / "key.pem")
    script = WorkerScript(SITE, SITE.preparation, 8, keys).text("tls://10.0.0.1:8786", NAME)
    lines = script.splitlines()
    assert [line for line in lines if line.startswith("#SBATCH")] == [
        f"#SBATCH {word}"
        for word in ("--time=4:00:00", "--cpus-per-task=8", "--mem=32G", "--nodes=1", "--ntasks=1", "--no-requeue")
    ]
    assert "source /apps/mwr/setup.sh" in lines
    assert "export OMP_NUM_THREADS=1" in lines
    worker = lines[-1]
    for words in (
        f"--name {NAME}",
        *("--nthreads 1", "--nworkers 8", "--interface ib0", '--local-directory "$folder"'),
        *("--lifetime 14220s", "--lifetime-stagger 45s", "--protocol tls://"),
    ):
        assert words in worker
    shown = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {worker}"], capture_output=True, text=True
    ).stdout.splitlines()
    assert str(keys.certificate) in shown  # one word, as it is


def test_keys_are_for_nobody_but_the_user(tmp_path: Path) -> None:
    keys = make_keys(tmp_path / "secrets" / "prepare")
    assert [path.stat().st_mode & 0o777 for path in (keys.certificate, keys.key)] == [0o600, 0o600]
    assert {folder.stat().st_mode & 0o777 for folder in (keys.key.parent, keys.key.parent.parent)} == {0o700}
    assert make_keys(tmp_path / "secrets" / "prepare") == keys
