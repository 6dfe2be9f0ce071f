"""Dask workers in jobs of a real SLURM: units on several hosts, TLS, lost workers replaced, broken set-up reported."""

import contextlib
import os
import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from launching import is_alive, wait_until
from mwr_hpc.cluster import worker_jobs
from mwr_hpc.cluster.job_name import JobName
from mwr_hpc.cluster.slurm import Slurm
from mwr_hpc.cluster.slurm_pool import SlurmPool, slurm_pool
from mwr_hpc.config.site import SiteProfile, WorkerResources
from mwr_hpc.errors import ClusterError
from mwr_hpc.events import never
from other_user import listeners
from virtual_slurm import VirtualSlurm

pytestmark = pytest.mark.needs("slurm")
REPOSITORY = Path(__file__).parents[2]


def node_of(seconds: float, task: object) -> str:
    time.sleep(seconds)
    return os.environ["SLURMD_NODENAME"]


def fail_on(node: str, task: object) -> str:
    here = os.environ["SLURMD_NODENAME"]
    if here == node or node == "everywhere":
        raise OSError(f"the disk of {here} is broken")
    return here


class Pools:
    """Opens pools on the test's SLURM."""

    def __init__(self, slurm: VirtualSlurm, folder: Path) -> None:
        self.folder = folder
        self.name = JobName("test-0", "prepare")
        setup = folder / "setup.sh"  # functions pickled by name must be found on the workers
        setup.write_text(f"export PYTHONPATH={REPOSITORY}:{REPOSITORY}/tests/slurm:{REPOSITORY}/tests\n")
        self.site = SiteProfile(setup=str(setup), interface=slurm.interface, scratch="$TMPDIR")
        self.site = self.site.model_copy(update={"scratch": str(folder / "scratch")})
        self.resources = WorkerResources(cores=3, memory="2G", walltime="0:10:00", workers=3)

    def open(self, units_at_once: int = 1):
        return slurm_pool(
            self.site,
            self.resources,
            self.name,
            units_at_once=units_at_once,
            secrets=self.folder / "secrets",
            logs=self.folder / "logs",
            should_stop=never,
            interval=1.0,
        )


@pytest.fixture
def pools(slurm: VirtualSlurm, tmp_path: Path) -> Pools:
    return Pools(slurm, tmp_path)


def hosts(pool: SlurmPool, seconds: float, units: int) -> list[str]:
    ends = list(pool.run(partial(node_of, seconds), range(units), never))
    assert [end.error for end in ends if end.error] == []
    assert sorted(end.task for end in ends) == list(range(units))
    return [end.result for end in ends]


def test_units_run_on_several_hosts_over_tls_and_jobs_end(slurm: VirtualSlurm, pools: Pools, monkeypatch) -> None:
    monkeypatch.setattr(worker_jobs, "LINGER", 1.0)
    with pools.open() as pool:
        assert slurm.run("squeue", "--noheader") == ""
        assert len(set(hosts(pool, 1.0, 30))) == 3
        keys = list((pools.folder / "secrets").rglob("*.pem"))
        assert {path.stat().st_mode & 0o777 for path in keys} == {0o600}
        assert {path.stat().st_mode & 0o777 for path in {key.parent for key in keys}} == {0o700}
        assert_closed(pools)
        script = (pools.folder / "logs/mwr.test-0.prepare.1.sbatch").read_text()
        assert "tls://" in script and f"source {pools.site.setup}" in script
        wait_until(lambda: not Slurm().jobs_of("test-0"), "jobs without work were kept")
        assert len(hosts(pool, 0.0, 2)) == 2  # and come back when there is work
    wait_until(lambda: not Slurm().jobs_of("test-0"), "jobs outlived the pool")
    assert list((pools.folder / "scratch").iterdir()) == []


def assert_closed(pools: Pools) -> None:
    """See that each process of the pool has one port, and that the scheduler's is of no use without the keys."""
    from distributed import Client

    workers = [one for one in psutil.process_iter() if is_of(pools, one)]
    seen = [listeners(one.pid) for one in workers] + [listeners(os.getpid(), children=False)]
    assert len(seen) >= 4
    assert all(len(addresses) == 1 for found in seen for addresses in found.values()), seen
    (address,) = seen[-1][os.getpid()]
    for scheme in ("tcp", "tls"):
        with pytest.raises((OSError, TypeError, RuntimeError)):
            Client(f"{scheme}://{address.ip}:{address.port}", timeout=2)
    assert {path.stat().st_mode & 0o777 for path in (pools.folder / "scratch").iterdir()} == {0o700}


def is_of(pools: Pools, process: psutil.Process) -> bool:
    """Whether this is what watches over the workers of a job."""
    with contextlib.suppress(psutil.Error):
        words = process.cmdline()
        return "distributed.cli.dask_worker" in words and str(pools.folder / "secrets/prepare/key.pem") in words
    return False


def test_lost_worker_is_replaced_and_its_unit_done_elsewhere(slurm: VirtualSlurm, pools: Pools) -> None:
    with pools.open() as pool:
        ends = pool.run(partial(node_of, 3.0), range(9), never)
        first = next(ends)
        slurm.kill_node(str(first.result))
        rest = list(ends)
        assert [end.error for end in rest if end.error] == []
        assert sorted(end.task for end in [first, *rest]) == list(range(9))


@pytest.mark.soak
def test_a_killed_nanny_leaves_no_worker_and_its_job_is_replaced(pools: Pools) -> None:
    with pools.open() as pool:
        ends = pool.run(partial(node_of, 2.0), range(12), never)
        first = next(ends)
        nanny = next(one for one in psutil.process_iter() if is_of(pools, one))
        workers = nanny.children(recursive=True)
        assert workers
        nanny.kill()
        wait_until(lambda: not any(is_alive(worker.pid) for worker in workers), "a worker outlived its nanny")
        rest = list(ends)
        assert [end.error for end in rest if end.error] == []
        assert sorted(end.task for end in [first, *rest]) == list(range(12))


def test_cancelled_worker_job_is_replaced(slurm: VirtualSlurm, pools: Pools) -> None:
    with pools.open() as pool:
        ends = pool.run(partial(node_of, 2.0), range(15), never)
        first = next(ends)
        before = Slurm().jobs_of("test-0")
        slurm.run("scancel", min(before.values(), key=lambda job: job.id).id)
        rest = list(ends)
        assert [end.error for end in rest if end.error] == []
        assert sorted(end.task for end in [first, *rest]) == list(range(15))
        assert (pools.folder / "logs/mwr.test-0.prepare.4.sbatch").exists()


def test_a_unit_that_fails_on_one_host_is_done_on_another(pools: Pools) -> None:
    with pools.open() as pool:
        bad = hosts(pool, 1.0, 12)[0]
        ends = list(pool.run(partial(fail_on, bad), range(6), never))
        assert [end.error for end in ends if end.error] == []
        assert bad not in {end.result for end in ends}
        (end,) = pool.run(partial(fail_on, "everywhere"), [0], never)
        assert isinstance(end.error, OSError)


def test_broken_set_up_is_an_error_not_an_endless_wait(pools: Pools) -> None:
    Path(str(pools.site.setup)).write_text("exit 3\n")
    with pools.open() as pool, pytest.raises(ClusterError, match=r"ended before their worker connected.*exit code 3"):
        list(pool.run(partial(node_of, 0.0), range(3), never))


def test_workers_leave_before_their_walltime_and_units_go_elsewhere(pools: Pools) -> None:
    pools.resources = pools.resources.model_copy(update={"walltime": "0:00:40", "workers": 1})
    with pools.open() as pool:
        assert len(hosts(pool, 4.0, 10)) == 10
    used = sorted((pools.folder / "logs").glob("*.out"))
    assert len(used) >= 2
    assert not any("DUE TO TIME LIMIT" in path.read_text() for path in used)


def test_orphans_of_a_dead_coordinator_are_cancelled(slurm: VirtualSlurm, pools: Pools) -> None:
    orphan = slurm.submit_shell("sleep 600", f"--job-name={pools.name}")
    other = slurm.submit_shell("sleep 600", f"--job-name={JobName('other-run', 'prepare')}")
    with pools.open():
        assert slurm.wait(orphan)["JobState"] == "CANCELLED"
        assert slurm.state(other) != "CANCELLED"


@pytest.mark.needs("network_namespaces")
def test_units_of_a_host_that_is_cut_off_are_done_elsewhere(slurm: VirtualSlurm, pools: Pools) -> None:
    with pools.open() as pool:
        ends = pool.run(partial(node_of, 2.0), range(12), never)
        first = next(ends)
        slurm.cut(str(first.result))
        rest = list(ends)
        assert [end.error for end in rest if end.error] == []
        assert sorted(end.task for end in [first, *rest]) == list(range(12))
        assert {end.result for end in rest[-2:]} != {first.result}
