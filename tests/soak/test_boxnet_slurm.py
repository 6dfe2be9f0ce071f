"""Two hundred micrographs picked on a real SLURM of four nodes, of which one is lost: as one process picks them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from launching import wait_until
from picking import DIAMETER, micrographs, picked_files, spot_model
from slurm_runs import Runs, hosts, receipts, text_of
from virtual_slurm import VirtualSlurm, virtual_slurm

pytestmark = [pytest.mark.soak, pytest.mark.needs("slurm"), pytest.mark.timeout(1800)]

NUMBER = 200


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualSlurm]:
    with virtual_slurm(tmp_path_factory.mktemp("slurm")) as started:
        yield started


def test_a_node_is_lost(cluster: VirtualSlurm, tmp_path: Path) -> None:
    runs = Runs(cluster, tmp_path)
    runs.environment["MWR_HPC_MODELS"] = str(tmp_path / "models")
    spot_model(tmp_path / "models/spots.h5")
    micrographs(tmp_path / "in", NUMBER)
    pick = ["boxnet", "pick", "--model", "spots", "--micrographs", tmp_path / "in", "--diameter", DIAMETER]
    ended = runs.command(*pick, "--out", tmp_path / "alone", "--processes", 1)
    assert ended.returncode == 0, ended.stderr
    out = tmp_path / "out"
    job = runs.submitted(*pick, "--out", out)
    done = out / ".mwr_hpc/receipts/candidates_spots"
    coordinator: list[str] = []
    lost: list[str] = []

    def lose_a_node() -> None:
        if lost or not done.is_dir() or len(list(done.glob("*.json"))) < NUMBER // 5:
            return
        coordinator[:] = [cluster.job(job)["BatchHost"]]
        working = {
            fields[1]
            for fields in map(str.split, cluster.run("squeue", "-h", "-o", "%j %N").splitlines())
            if ".predict." in fields[0] and len(fields) > 1
        }
        lost.extend(sorted(working - set(coordinator))[:1])
        if lost:
            cluster.kill_node(lost[0])

    log = out / ".mwr_hpc/logs/coordinator.out"
    assert runs.ended(job, log, lose_a_node, seconds=1500) == "0:0", text_of(log)
    assert lost, "no node was lost"
    assert picked_files(out) == picked_files(tmp_path / "alone")
    assert len(picked_files(out)) == 2 * NUMBER + 2
    assert len(hosts(receipts(out / ".mwr_hpc/receipts"), "candidates")) >= 2
    wait_until(lambda: runs.no_job_is_left(out), "jobs were left", 60)
