"""Picking and re-training as jobs of a real SLURM: the same files as without it."""

import json
from pathlib import Path

import pytest

from launching import wait_until
from mwr_hpc.boxnet.examples import ExampleStore
from mwr_hpc.io.atomic import PARTIAL
from mwr_hpc.io.micrograph import micrograph_files
from mwr_hpc.io.picks import write_picks
from picking import DIAMETER, micrograph, micrographs, picked_files, places, spot_model
from slurm_runs import Runs, hosts, receipts, text_of
from virtual_slurm import VirtualSlurm

pytestmark = [pytest.mark.needs("slurm"), pytest.mark.timeout(900)]

NUMBER = 12


@pytest.fixture
def runs(slurm: VirtualSlurm, tmp_path: Path) -> Runs:
    made = Runs(slurm, tmp_path)
    made.environment["MWR_HPC_MODELS"] = str(tmp_path / "models")
    return made


def test_picking_on_slurm_is_that_of_this_host(runs: Runs) -> None:
    folder = runs.folder
    spot_model(folder / "models/spots.h5")
    micrographs(folder / "in", NUMBER)
    micrograph(folder / "in/bad.mrc", angpix=0.0)
    pick = ["boxnet", "pick", "--model", "spots", "--micrographs", folder / "in", "--diameter", DIAMETER]
    pick += ["--formats", "star,box"]
    assert runs.command(*pick, "--out", folder / "alone", "--processes", 1).returncode == 1

    out = folder / "out"
    job = runs.submitted(*pick, "--out", out)
    log = out / ".mwr_hpc/logs/coordinator.out"
    assert runs.ended(job, log) == "1:0", text_of(log)
    assert picked_files(out) == picked_files(folder / "alone")
    assert len(picked_files(out)) == 3 * NUMBER + 2
    assert hosts(receipts(out / ".mwr_hpc/receipts"), "candidates") <= set(runs.slurm.nodes)
    status = runs.command("status", out)
    assert "finished" in status.stdout and "bad" in status.stdout

    shared = folder / "shared"
    job = runs.submitted(*pick, "--out", shared, "--array", 2)
    for element in range(2):
        log = shared / f".mwr_hpc/logs/sweep.{element}.out"
        assert runs.ended(f"{job}_{element}", log) in ("0:0", "1:0"), text_of(log)
    assert picked_files(shared) == picked_files(folder / "alone")
    assert not [path for path in folder.rglob("*") if PARTIAL in path.name]
    wait_until(lambda: runs.no_job_is_left(out) and runs.no_job_is_left(shared), "jobs were left", 60)


def test_simulation_and_examples_are_a_job_each(runs: Runs) -> None:
    folder = runs.folder / "mics"
    words = ["boxnet", "simulate", folder, "--number", 2, "--size", "96 128", "--angpix", 8, "--species", 1]
    job = runs.submitted(*words, "--snr", 1, "--particles", 6)
    log = folder / ".mwr_hpc/logs/simulate.out"
    assert runs.ended(job, log, seconds=60) == "0:0", text_of(log)
    known = runs.slurm.job(job)
    assert known["JobState"] == "COMPLETED"
    assert known["JobName"] == json.loads((folder / ".mwr_hpc/jobs/simulate.json").read_text())["name"]
    assert [path.name for path in micrograph_files(folder)] == ["mic_00000.mrc", "mic_00001.mrc"]

    store = runs.folder / "examples.zarr"
    words = ["boxnet", "examples", "prepare", folder, "--positives", folder / "truth", "--diameter", 150]
    job = runs.submitted(*words, "--out", store)
    log = store / ".mwr_hpc/logs/examples-prepare.out"
    assert runs.ended(job, log, seconds=60) == "0:0", text_of(log)
    assert ExampleStore(store).read("mic_00001").image.shape == (96, 128)


@pytest.mark.needs("horovod")
def test_retraining_on_slurm_is_that_of_this_host(runs: Runs) -> None:
    folder = micrographs(runs.folder / "in", 4)
    (folder / "truth").mkdir()
    for seed in range(4):
        y, x = places(seed).T
        write_picks(folder / f"truth/m{seed:03d}.star", x, y, f"m{seed:03d}.mrc")
    prepare = ["boxnet", "examples", "prepare", "--micrographs", folder, "--positives", folder / "truth"]
    ended = runs.command(*prepare, "--diameter", DIAMETER, "--out", runs.folder / "examples.zarr")
    assert ended.returncode == 0, ended.stderr
    retrain = ["boxnet", "retrain", "--parent", "scratch", "--examples", runs.folder / "examples.zarr"]
    retrain += ["--corpus", "none", "--epochs", 2, "--patch", 64, "--width", 4, "--depth", 2, "--batch_size", 4]
    retrain += ["--precision", "float32", "--name", "Taught"]
    job = runs.submitted(*retrain, "--run_dir", runs.folder / "run")
    log = runs.folder / "run/logs/coordinator.out"
    assert runs.ended(job, log) == "0:0", text_of(log)
    assert "finished" in runs.command("status", runs.folder / "run").stdout
    taught = runs.folder / "models/Taught.h5"
    found = taught.read_bytes()
    taught.unlink()
    (folder / "boxnet2training/Taught.tif").unlink()  # of the other run, which this one must not replace
    ended = runs.locally(*retrain, "--run_dir", runs.folder / "alone", "--ranks", 2)
    assert ended.returncode == 0, ended.stderr
    assert taught.read_bytes() == found
