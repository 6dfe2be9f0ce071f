"""Real Horovod ranks: what their communicator promises, on one host and in two network namespaces."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launching import Launcher, wait_until
from mwr_hpc.errors import ClusterError, ConfigError
from mwr_hpc.training.communicator import require_horovod

CONNECT = """
import os, zlib
from pathlib import Path
from mwr_hpc.cluster.rank_environment import accept_rank
placement = accept_rank(Path(os.environ.get("MEETING_FOLDER", "unused")))
import numpy as np
from mwr_hpc.training.communicator import HorovodCommunicator
ranks = HorovodCommunicator(placement)
rank = ranks.rank
"""


@pytest.fixture
def launch(tmp_path: Path) -> Launcher:
    return Launcher(tmp_path)


def said(launch: Launcher, word: str) -> list[str]:
    """What the ranks said after `word`, in the order of ranks."""
    lines = sorted(line for line in launch.log.read_text().splitlines() if f"] {word} " in line)
    return [line.split(f"] {word} ")[1] for line in lines]


@pytest.mark.needs("horovod")
@pytest.mark.parametrize("size", [1, 2, 4])
def test_sum_broadcast_and_barrier(launch: Launcher, size: int) -> None:
    """Sums against closed form, the same bits everywhere, and nobody passes the barrier before the last arrives."""
    launch(
        CONNECT
        + f"""
assert ranks.size == {size}
assert ranks.allreduce(np.full(1000, 2.0**rank, np.float32)).numpy().tolist() == [{2**size - 1}] * 1000
rough = np.random.default_rng(rank).standard_normal(100_003).astype(np.float32)
print("sum", zlib.crc32(ranks.allreduce(rough).numpy().tobytes()))
for dtype in (np.int64, np.float32, np.uint8):
    received = ranks.broadcast(np.arange(6).reshape(2, 3).astype(dtype) + 10 * rank)
    assert received.dtype == dtype and received.tolist() == [[0, 1, 2], [3, 4, 5]]
assert ranks.broadcast(np.float64(7 + rank)).tolist() == 7.0
here = Path({str(launch.folder)!r})
time.sleep(0.3 * rank)
(here / f"arrived-{{rank}}").touch()
ranks.barrier()
assert len(list(here.glob("arrived-*"))) == {size}
print("done", rank)
""",
        size,
    )
    assert said(launch, "done") == [str(rank) for rank in range(size)]
    assert len(set(said(launch, "sum"))) == 1


@pytest.mark.needs("horovod")
def test_a_rank_killed_while_the_others_wait_in_a_sum_is_named(launch: Launcher) -> None:
    program = CONNECT + "if rank == 1: time.sleep(0.5); os.kill(os.getpid(), signal.SIGKILL)\nranks.barrier()\n"
    with pytest.raises(ClusterError, match="rank 1 of 2 was killed by SIGKILL"):
        launch(program, 2)
    assert launch.alive() == []


@pytest.mark.needs("horovod")
def test_a_rank_that_no_longer_takes_part_ends_the_run(launch: Launcher) -> None:
    # The short limit comes after the first meeting, for which busy machines may need longer.
    program = CONNECT + "ranks._stall_seconds = 2\nif rank == 1: time.sleep(600)\nranks.barrier()\n"
    with pytest.raises(ClusterError, match="rank 0 of 2: a sum over all ranks has taken more than 2 s"):
        launch(program, 2)
    assert launch.alive() == []


@pytest.mark.needs("horovod")
def test_a_mistake_in_our_own_code_is_not_taken_for_a_lost_rank(launch: Launcher) -> None:
    with pytest.raises(ClusterError, match="exit code 1") as caught:
        launch(CONNECT + "ranks.allreduce(np.zeros(3 + rank, np.float32))\n", 2)
    assert "LostRanksError" not in str(caught.value)
    assert "Mismatched" in str(caught.value)


def test_without_horovod_the_command_that_installs_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "horovod", None)
    with pytest.raises(ConfigError, match="mwr-hpc config horovod"):
        require_horovod()


@pytest.mark.needs("horovod", "network_namespaces")
def test_two_hosts_with_the_environment_of_srun(two_hosts: list[str], tmp_path: Path) -> None:
    """Neither sees the other's loopback, so they meet over the cable or not at all."""
    program = CONNECT + (
        "assert ranks.allreduce(np.full(9, 2.0**rank, np.float32)).numpy().tolist() == [3.0] * 9\n"
        "print(rank, os.environ['HOROVOD_GLOO_RENDEZVOUS_ADDR'], os.environ['HOROVOD_GLOO_IFACE'],"
        " os.environ['OMP_NUM_THREADS'])\n"
    )
    srun = {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_STEP_TASKS_PER_NODE": "1(x2)",
        "SLURM_LAUNCH_NODE_IPADDR": "10.213.7.2",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_LOCALID": "0",
        "MEETING_FOLDER": str(tmp_path),
    }
    processes = [
        subprocess.Popen(
            ["ip", "netns", "exec", host, sys.executable, "-c", program],
            env=os.environ | srun | {"SLURM_PROCID": str(rank), "SLURM_NODEID": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank, host in enumerate(two_hosts)
    ]
    try:
        wait_until(lambda: all(process.poll() is not None for process in processes), "the ranks did not end", 120)
    finally:
        for process in processes:
            process.kill()
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    cables = [host.replace("mwr", "m") for host in two_hosts]
    last = [output.splitlines()[-1] for output in outputs]
    assert last == [f"{rank} 10.213.7.1 {cables[rank]} 1" for rank in (0, 1)]
    assert list(tmp_path.iterdir()) == []
