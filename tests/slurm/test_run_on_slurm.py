"""A whole run as jobs of a real SLURM: submitted, watched, and byte for byte the run without SLURM."""

import csv
import json
from pathlib import Path

import pytest

from launching import wait_until
from mwr_hpc.io.atomic import PARTIAL
from slurm_runs import BROKEN, TRAINING, Runs, Watcher, corrected, hosts, models, receipts, text_of, tomograms
from virtual_slurm import VirtualSlurm

pytestmark = [pytest.mark.needs("slurm", "horovod"), pytest.mark.timeout(900)]


@pytest.fixture
def runs(slurm: VirtualSlurm, tmp_path: Path) -> Runs:
    return Runs(slurm, tmp_path)


def test_a_run_and_a_sweep_on_slurm_are_those_of_this_host(runs: Runs) -> None:
    inputs, run, alone = tomograms(runs.folder / "in", 4), runs.folder / "run", runs.folder / "alone"
    train = ["train", "--input_dir", inputs, *TRAINING]

    planned = runs.command("submit", *train, "--run_dir", run, "--dry-run")
    assert planned.returncode == 0, planned.stderr
    assert "coordinator.sbatch train" in planned.stdout and "train.sbatch" in planned.stdout
    assert "distributed.cli.dask_worker" in planned.stdout and not run.exists()

    job, watcher = runs.submitted(*train, "--run_dir", run), Watcher(run)
    assert json.loads(runs.command("status", run, "--json").stdout)["state"] in ("waiting", "running")
    again = runs.command("submit", *train, "--run_dir", run)
    assert again.returncode == 2 and "has a job already" in again.stderr
    log = run / "logs/coordinator.out"
    assert runs.ended(job, log, watcher) == "1:0", text_of(log)
    status = json.loads(runs.command("status", run, "--json").stdout)
    assert (status["state"], status["jobs"], set(status["left_out"])) == ("finished", [], BROKEN)
    assert "train" in watcher.stages
    trained = [receipt for receipt in receipts(run / "receipts") if receipt["stage"] == "train"]
    assert [(receipt["figures"]["ranks"], receipt["attempt"]) for receipt in trained] == [(2, 1)] * 2
    assert len(hosts(receipts(run / "receipts"), "predicted_01")) == 2

    assert (run / ".secrets").stat().st_mode & 0o777 == 0o700

    assert runs.locally(*train, "--run_dir", alone, "--ranks", 2).returncode == 1
    assert models(run) == models(alone) and len(models(run)) == 2

    predict = ["predict", run / "results/model_iter02.h5", inputs, "--batch_size", 1]
    out, out_alone = runs.folder / "out", runs.folder / "out_alone"
    job = runs.submitted(*predict, "--out", out)
    log = out / ".mwr_hpc/logs/coordinator.out"
    assert runs.ended(job, log) == "1:0", text_of(log)
    assert runs.locally(*predict, "--out", out_alone).returncode == 1
    assert corrected(out) == corrected(out_alone) and len(corrected(out)) == 4
    with (out / "results.csv").open() as table:
        rows = {row["tomogram"]: row for row in csv.DictReader(table)}
    assert {name for name, row in rows.items() if row["status"] == "failed" and row["reason"]} == BROKEN
    assert {row["host"] for row in rows.values() if row["status"] == "done"} <= set(runs.slurm.nodes)
    assert not [path for path in runs.folder.rglob("*") if PARTIAL in path.name]
    wait_until(lambda: runs.no_job_is_left(run) and runs.no_job_is_left(out), "jobs were left", 60)
