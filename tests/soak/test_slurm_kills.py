"""The coordinator of a run on SLURM killed in each stage, stopped by its time limit, and runs in each other's way."""

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import killing
from killing import PROGRAM, exists
from launching import wait_until
from slurm_runs import (
    BROKEN,
    TRAINING,
    Runs,
    Watcher,
    corrected,
    finished_units,
    hosts,
    models,
    receipts,
    text_of,
    tomograms,
)
from virtual_slurm import VirtualSlurm, virtual_slurm

pytestmark = [pytest.mark.soak, pytest.mark.needs("slurm", "horovod")]

MORE = ["--epochs", 6, "--steps_per_epoch", 60]
"""So that a training lasts some seconds."""

LONG = [*MORE, "--epochs", 150]
"""So that it lasts longer than the start of a coordinator on a busy machine."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualSlurm]:
    with virtual_slurm(tmp_path_factory.mktemp("slurm")) as started:
        yield started


@pytest.fixture(scope="module")
def runs(cluster: VirtualSlurm, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    made = Runs(cluster, tmp_path_factory.mktemp("runs"))
    tomograms(made.folder / "many", 21)
    tomograms(made.folder / "few", 5)
    return made


@pytest.fixture(autouse=True)
def _free_nodes(cluster: VirtualSlurm) -> Iterator[None]:
    yield
    cluster.cancel_all()


@pytest.fixture(scope="module")
def alone(runs: Runs) -> Path:
    """The run of 24 tomograms without SLURM, and its sweep of two models."""
    run = runs.folder / "alone"
    assert runs.locally(*train(runs, "many", run), "--ranks", 2).returncode == 1
    assert runs.locally(*sweep(runs, run, runs.folder / "out_alone")).returncode == 1
    return run


@pytest.fixture(scope="module")
def few_alone(runs: Runs) -> Path:
    """The run of few tomograms without SLURM."""
    run = runs.folder / "few_alone"
    assert runs.locally(*train(runs, "few", run, *MORE), "--ranks", 2).returncode == 1
    return run


@pytest.fixture(scope="module")
def long_alone(runs: Runs) -> Path:
    """The run of few tomograms that trains for long, without SLURM."""
    run = runs.folder / "long_alone"
    assert runs.locally(*train(runs, "few", run, *LONG), "--ranks", 2).returncode == 1
    return run


def train(runs: Runs, inputs: str, run: Path, *more: object) -> list[object]:
    return ["train", "--input_dir", runs.folder / inputs, "--run_dir", run, *TRAINING, *more]


def sweep(runs: Runs, run: Path, out: Path) -> list[object]:
    found = sorted(run.glob("results/*.h5"))
    return ["predict", *found, runs.folder / "many", "--out", out, "--batch_size", 1]


def test_cohort_with_three_broken_tomograms_by_submission(runs: Runs, alone: Path) -> None:
    run, out = runs.folder / "submitted", runs.folder / "out"
    job, watcher = runs.submitted(*train(runs, "many", run)), Watcher(run)
    log = run / "logs/coordinator.out"
    assert runs.ended(job, log, watcher) == "1:0", text_of(log)
    status = json.loads(runs.command("status", run, "--json").stdout)
    assert (status["state"], set(status["left_out"])) == ("finished", BROKEN)
    assert models(run) == models(alone)
    stages = ["convert", "extract", "pairs_01", "train", "predicted_01", "pairs_02", "train"]
    seen = iter(stages)
    assert all(stage in seen for stage in watcher.stages) and len(watcher.stages) >= 4, watcher.stages
    found = receipts(run / "receipts")
    for stage in ("convert", "extract", "pairs_01", "pairs_02"):
        assert len(hosts(found, stage)) >= 3, stage
    assert len(hosts(found, "predicted_01")) == 2
    assert all(receipt["figures"]["ranks"] == 2 for receipt in found if receipt["stage"] == "train")

    job = runs.submitted(*sweep(runs, run, out))
    log = out / ".mwr_hpc/logs/coordinator.out"
    assert runs.ended(job, log) == "1:0", text_of(log)
    assert set(json.loads(runs.command("status", out, "--json").stdout)["left_out"]) == BROKEN
    assert (out / "results.csv").read_text().count(",failed,") == 2 * len(BROKEN)
    assert corrected(out) == corrected(runs.folder / "out_alone") and len(corrected(out)) == 42
    assert len(hosts(receipts(out / ".mwr_hpc/receipts"), "correct_")) >= 3


def test_a_sweep_as_an_array_gives_the_same_bytes(runs: Runs, alone: Path, cluster: VirtualSlurm) -> None:
    out = runs.folder / "out_array"
    job = runs.submitted(*sweep(runs, alone, out), "--array", 3)
    for element in range(3):
        log = out / f".mwr_hpc/logs/sweep.{element}.out"
        assert runs.ended(f"{job}_{element}", log) in ("0:0", "1:0"), text_of(log)
    assert corrected(out) == corrected(runs.folder / "out_alone")
    assert (out / "results.csv").read_text().count(",done,") == 42


def in_allocation(runs: Runs, cluster: VirtualSlurm, name: str, words: list[object]) -> None:
    """Run a command by jobs/run_in_allocation.sbatch on two nodes."""
    log = cluster.folder / f"jobs/{name}.out"
    script = Path(__file__).parents[2] / "jobs/run_in_allocation.sbatch"
    options = ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--mem=4G", f"--output={log}", script]
    cluster.environment |= {name: runs.environment[name] for name in ("PYTHONPATH", "MWR_HPC_SITE")}
    cluster.environment["MWR_PYTHON"] = PROGRAM[0]
    job = cluster.run("sbatch", "--parsable", *options, *words).strip()
    assert runs.ended(job, log) == "1:0", text_of(log)


def test_inside_one_allocation_the_bytes_are_the_same(
    runs: Runs, alone: Path, few_alone: Path, cluster: VirtualSlurm
) -> None:
    run, out = runs.folder / "inside", runs.folder / "out_inside"
    in_allocation(runs, cluster, "inside", train(runs, "few", run, *MORE))
    assert models(run) == models(few_alone)
    assert len(hosts(receipts(run / "receipts"), "convert")) == 2
    assert len(hosts(receipts(run / "receipts"), "predicted_01")) == 2
    in_allocation(runs, cluster, "swept_inside", sweep(runs, alone, out))
    assert corrected(out) == corrected(runs.folder / "out_alone") and len(corrected(out)) == 42


def moments(run: Path) -> dict[str, Callable[[], bool]]:
    """A moment in each stage."""
    return {
        "convert": exists(run, "tomograms/*.ome.zarr"),
        "extract": exists(run, "subtomograms/*.zarr"),
        "pairs_01": exists(run, "iterations/01/pairs/*.zarr"),
        "train": exists(run, "iterations/01/checkpoint/*.h5"),
        "predicted_01": exists(run, "results/model_iter01.h5"),
        "pairs_02": exists(run, "iterations/02/pairs/*.zarr"),
        "train_02": exists(run, "iterations/02/checkpoint/*.h5"),
    }


@pytest.mark.parametrize("stage", moments(Path()))
def test_a_killed_coordinator_goes_on_and_nothing_is_done_twice(
    runs: Runs, few_alone: Path, long_alone: Path, stage: str
) -> None:
    run = runs.folder / f"killed_in_{stage}"
    in_training = stage.startswith("train")
    command = train(runs, "few", run, *(LONG if in_training else MORE), "--slurm")
    log = runs.folder / "log"
    with log.open("a") as stream:
        coordinator = subprocess.Popen(
            [*PROGRAM, *map(str, command)], env=runs.environment, stdout=stream, stderr=stream, start_new_session=True
        )
        try:
            moment = moments(run)[stage]
            wait_until(lambda: moment() or coordinator.poll() is not None, f"no {stage}:\n{text_of(log)}", 300)
        finally:
            coordinator.send_signal(signal.SIGKILL)
            coordinator.wait()
    before = finished_units(run)
    ended = runs.command(*command)
    assert ended.returncode == 1, ended.stderr
    assert models(run) == models(long_alone if in_training else few_alone)
    after = finished_units(run)
    assert before and {name: after.get(name) for name in before} == before
    attempts = [json.loads(path.read_text())["attempt"] for path in sorted(run.glob("jobs/train_*.json"))]
    assert attempts == [1, 1], ended.stderr  # the job of the dead coordinator was adopted
    if in_training:
        assert "goes on with the training from before" in ended.stderr
    assert not killing.partials(run)
    wait_until(lambda: runs.no_job_is_left(run), "jobs were left", 90)


def test_the_time_limit_requeues_the_coordinator(runs: Runs, long_alone: Path, cluster: VirtualSlurm) -> None:
    run = runs.folder / "limited"
    runs.write_site(walltime="0:04:00")  # 180 s before it comes the signal
    try:
        job = runs.submitted(*train(runs, "few", run, *LONG))
    finally:
        runs.write_site()
    log = run / "logs/coordinator.out"
    wait_until(exists(run, "iterations/01/checkpoint/*.h5"), text_of(log), 120)
    before = finished_units(run)
    assert runs.ended(job, log) == "1:0", text_of(log)
    assert int(cluster.job(job)["Restarts"]) >= 1
    assert "is requeued" in text_of(log) and "goes on with the training from before" in text_of(log)
    after = finished_units(run)
    assert {name: after.get(name) for name in before} == before
    assert [json.loads(path.read_text())["attempt"] for path in run.glob("jobs/train_*.json")] == [1, 1]
    assert models(run) == models(long_alone)


def test_two_runs_in_one_folder_and_no_second_coordinator(runs: Runs, few_alone: Path) -> None:
    both = [runs.folder / "side_a", runs.folder / "side_b"]
    jobs = [runs.submitted(*train(runs, "few", run, *MORE)) for run in both]
    wait_until(exists(both[0], "tomograms/*.ome.zarr"), "no run began", 120)
    second = runs.command(*train(runs, "few", both[0], *MORE), "--slurm")
    assert second.returncode == 2 and "held by another coordinator" in second.stderr, second.stderr
    for job, run in zip(jobs, both, strict=True):
        log = run / "logs/coordinator.out"
        assert runs.ended(job, log) == "1:0", text_of(log)
        assert models(run) == models(few_alone)


def test_cancel_ends_the_jobs_of_one_run_and_it_goes_on(runs: Runs, few_alone: Path, cluster: VirtualSlurm) -> None:
    run = runs.folder / "cancelled"
    other = cluster.submit_shell("sleep 600", "--job-name=mwr.other-0.train_01.1")
    job = runs.submitted(*train(runs, "few", run, *MORE))
    wait_until(exists(run, "iterations/01/checkpoint/*.h5"), "no training began", 300)
    ended = runs.command("cancel", run)
    assert ended.returncode == 0 and "train_01" in ended.stdout, ended
    assert cluster.job(job)["JobState"] == "CANCELLED" and runs.no_job_is_left(run)
    assert "stopped in good order" in text_of(run / "logs/coordinator.out").lower()
    assert cluster.state(other) == "RUNNING"
    job = runs.submitted(*train(runs, "few", run, *MORE))
    assert runs.ended(job, run / "logs/coordinator.out") == "1:0", text_of(run / "logs/coordinator.out")
    assert models(run) == models(few_alone)
