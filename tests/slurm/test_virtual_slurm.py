"""The tests' own SLURM does what later tests rely on: jobs on several hosts, requeue, faults; and leaves nothing."""

import os
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from launching import wait_until
from virtual_slurm import VirtualSlurm, remove_bridges_of_the_dead

pytestmark = pytest.mark.needs("slurm")


def test_a_job_step_runs_on_four_nodes_of_their_own_name(slurm: VirtualSlurm) -> None:
    job = slurm.submit_shell("srun sh -c 'echo $SLURMD_NODENAME $(hostname)'", "--nodes=4", "--ntasks-per-node=1")
    assert slurm.wait(job)["JobState"] == "COMPLETED"
    said = sorted(slurm.log(job).read_text().splitlines())
    if slurm.namespaces:
        assert said == [f"{node} {node}" for node in slurm.nodes]
    assert [line.split()[0] for line in said] == slurm.nodes


def test_gpus_are_given_out(slurm: VirtualSlurm) -> None:
    job = slurm.submit_shell("echo $CUDA_VISIBLE_DEVICES", "--gres=gpu:1")
    assert slurm.wait(job)["JobState"] == "COMPLETED"
    assert slurm.log(job).read_text().strip() == "0"


def test_a_job_of_a_killed_node_runs_again_elsewhere(slurm: VirtualSlurm) -> None:
    job = slurm.submit_shell('[ -n "$SLURM_RESTART_COUNT" ] || sleep 600', "--requeue")
    first = slurm.wait(job, ["RUNNING"])["BatchHost"]
    slurm.kill_node(first)
    known = slurm.wait(job, ["COMPLETED"], seconds=90)
    assert known["Restarts"] == "1"
    assert known["BatchHost"] != first


def test_a_drained_node_gets_no_job(slurm: VirtualSlurm) -> None:
    slurm.drain("n1")
    job = slurm.submit_shell("true", "--nodelist=n1")
    assert slurm.wait(job, ["PENDING"])["JobState"] == "PENDING"
    slurm.start_node("n1")
    assert slurm.wait(job)["JobState"] == "COMPLETED"


def test_nothing_outlives_tests_that_are_killed(tmp_path: Path) -> None:
    program = textwrap.dedent(f"""
        import sys, time
        from pathlib import Path
        sys.path.insert(0, {str(Path(__file__).parents[1])!r})
        from virtual_slurm import virtual_slurm
        if __name__ == "__main__":
            with virtual_slurm(Path({str(tmp_path)!r}) / "own", nodes=1) as cluster:
                cluster.submit_shell("sleep 6543")
                print("up", flush=True)
                time.sleep(600)
    """)
    tests = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    try:
        assert tests.stdout is not None and tests.stdout.readline() == b"up\n"
        wait_until(lambda: _of_cluster(tmp_path / "own", b"sleep"), "the job did not start")
    finally:
        tests.send_signal(signal.SIGKILL)
        tests.wait()
    wait_until(lambda: not _of_cluster(tmp_path / "own", b""), "processes of the cluster outlived the tests")
    remove_bridges_of_the_dead()
    assert f"mwr{tests.pid}" not in (name for _, name in socket.if_nameindex())


def _of_cluster(folder: Path, command: bytes) -> list[int]:
    """Pids of processes whose environment names the cluster in `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words, environment = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in environment and words.startswith(command) and int(process.name) != os.getpid():
            found.append(int(process.name))
    return found
