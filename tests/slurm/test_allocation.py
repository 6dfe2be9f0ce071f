"""Workers and ranks inside one allocation of a real SLURM, and a job that is followed, lost and adopted."""

import sys
import textwrap
from pathlib import Path

import pytest

from launching import wait_until
from mwr_hpc.cluster.followed_job import follow_job
from mwr_hpc.cluster.job_name import JobName
from mwr_hpc.cluster.slurm import Job, Slurm
from mwr_hpc.errors import ClusterError, StopRequested
from mwr_hpc.events import never
from virtual_slurm import VirtualSlurm

pytestmark = pytest.mark.needs("slurm")
REPOSITORY = Path(__file__).parents[2]


def in_allocation(slurm: VirtualSlurm, folder: Path, program: str, *words: str) -> int:
    path = folder / "program.py"
    path.write_text(textwrap.dedent(program))
    search = f"PYTHONPATH={REPOSITORY}:{REPOSITORY}/tests/slurm:{REPOSITORY}/tests"
    return slurm.submit_shell(f"{search} exec {sys.executable} {path}", "--nodes=2", "--ntasks-per-node=1", *words)


def test_workers_run_on_all_nodes_of_the_allocation(slurm: VirtualSlurm, tmp_path: Path) -> None:
    job = in_allocation(
        slurm,
        tmp_path,
        f"""
        import os
        from functools import partial
        from pathlib import Path
        from mwr_hpc.cluster.allocation import Allocation, allocation_pool
        from mwr_hpc.events import never
        from test_slurm_pool import node_of

        if __name__ == "__main__":
            folder = Path({str(tmp_path)!r})
            given = Allocation.of(os.environ)
            shared = dict(interface={slurm.interface!r}, scratch=None, secrets=folder / "secrets", logs=folder)
            with allocation_pool(given, 2, **shared) as pool:
                ends = list(pool.run(partial(node_of, 0.5), range(40), never))
            print(given, sorted({{end.result for end in ends}}), len(ends))
        """,
        "--cpus-per-task=2",
        "--mem=4G",
    )
    known = slurm.wait(job, seconds=90)
    log = slurm.log(job).read_text()
    assert known["JobState"] == "COMPLETED", log + (tmp_path / "allocation_workers.out").read_text()
    nodes = [node for node in slurm.nodes if f"'{node}'" in log]
    assert f"Allocation(nodes=2, cores=2) {nodes} 40" in log
    assert len(nodes) == 2


@pytest.mark.soak
def test_a_node_whose_workers_are_killed_gets_others(slurm: VirtualSlurm, tmp_path: Path) -> None:
    job = in_allocation(
        slurm,
        tmp_path,
        f"""
        import os, subprocess, time
        from functools import partial
        from pathlib import Path
        from mwr_hpc.cluster.allocation import Allocation, allocation_pool, step_argv
        from mwr_hpc.events import never
        from test_slurm_pool import node_of

        if __name__ == "__main__":
            folder = Path({str(tmp_path)!r})
            shared = dict(interface={slurm.interface!r}, scratch=None, secrets=folder / "secrets", logs=folder)
            kill = f"kill -KILL $(pgrep -f '{{folder}}/[s]ecrets')"
            with allocation_pool(Allocation.of(os.environ), 2, **shared) as pool:
                ends = pool.run(partial(node_of, 0.5), range(20), never)
                first = [next(ends) for _ in range(4)]
                subprocess.run(step_argv(1, 1, 1, ["bash", "-c", kill], 1))
                rest = list(ends)
                again, deadline = set(), time.monotonic() + 60
                while len(again) < 2 and time.monotonic() < deadline:
                    again |= {{end.result for end in pool.run(partial(node_of, 0.5), range(8), never)}}
            print("ends", len(first) + len(rest), [end.error for end in rest if end.error], len(again))
        """,
        "--cpus-per-task=2",
        "--mem=4G",
    )
    known = slurm.wait(job, seconds=120)
    log = slurm.log(job).read_text()
    assert known["JobState"] == "COMPLETED", log
    assert "ends 20 [] 2" in log, log


def test_ranks_run_on_all_nodes_and_a_stop_reaches_them(slurm: VirtualSlurm, tmp_path: Path) -> None:
    rank = tmp_path / "rank.sh"
    rank.write_text(
        "trap 'echo stopped $SLURM_PROCID; exit 85' USR1\n"
        "echo rank $SLURM_PROCID on $SLURM_NODEID ${MWR_RANK:-numbered by srun}\nwhile :; do sleep 0.1; done\n"
    )
    job = in_allocation(
        slurm,
        tmp_path,
        f"""
        import os
        from pathlib import Path
        from mwr_hpc.cluster.allocation import Allocation, ranks_argv
        from mwr_hpc.cluster.ranks import run_ranks
        from mwr_hpc.errors import StopRequested

        log = Path({str(tmp_path)!r}) / "ranks.log"
        argv = ranks_argv(Allocation.of(os.environ), 2, ["bash", {str(rank)!r}])
        ready = lambda: log.exists() and log.read_text().count("numbered by srun") == 4
        try:
            run_ranks(argv, 1, meeting_folder=log.parent, log=log, show=print, should_stop=ready)
        except StopRequested:
            print("stopped in good order")
        """,
        "--cpus-per-task=2",
    )
    slurm.wait(job, seconds=60)
    log = slurm.log(job).read_text() + (tmp_path / "ranks.log").read_text()
    assert "stopped in good order" in log
    assert all(f"rank {number} on {number // 2}" in log and f"stopped {number}" in log for number in range(4))


class Follower:
    """Follows jobs of one unit."""

    def __init__(self, slurm: VirtualSlurm, folder: Path) -> None:
        self.slurm = slurm
        self.folder = folder
        self.seen: list[Job] = []

    def __call__(self, command: str, should_stop=never) -> None:
        def argv(name: JobName) -> list[str]:
            log = f"--output={self.folder}/{name}.out"
            return ["sbatch", "--parsable", "--no-requeue", f"--job-name={name}", log, f"--wrap={command}"]

        name = JobName("followed-1", "train_01")
        record = self.folder / "job.json"
        follow_job(Slurm(), name, argv, record, look=self.seen.append, should_stop=should_stop, interval=0.5)


@pytest.fixture
def follow(slurm: VirtualSlurm, tmp_path: Path) -> Follower:
    return Follower(slurm, tmp_path)


def test_a_job_goes_on_when_the_coordinator_stops_and_is_adopted(slurm: VirtualSlurm, follow: Follower) -> None:
    command = f"while [ ! -e {follow.folder}/go ]; do sleep 0.2; done"
    with pytest.raises(StopRequested):
        follow(command, lambda: bool(follow.seen) and follow.seen[-1].state == "RUNNING")
    (follow.folder / "go").touch()
    follow(command)
    assert {job.id for job in follow.seen} == {follow.seen[0].id} or follow.seen[-1].state == "COMPLETED"
    assert len(list(follow.folder.glob("*.out"))) == 1


def test_a_failed_job_is_an_error_with_its_exit_code(follow: Follower) -> None:
    with pytest.raises(ClusterError, match=r"train_01.* FAILED, exit code 7"):
        follow("exit 7")


def test_a_job_lost_with_its_node_is_submitted_again(slurm: VirtualSlurm, follow: Follower) -> None:
    def lose_the_first(job: Job) -> None:
        if job.state == "RUNNING" and (follow.folder / "again").exists() and not lost:
            lost.append(slurm.job(job.id)["BatchHost"])
            slurm.kill_node(lost[0])

    lost: list[str] = []
    follow.seen = type("Looks", (list,), {"append": lambda self, job: lose_the_first(job)})()
    follow(f"[ -e {follow.folder}/again ] || {{ touch {follow.folder}/again; sleep 600; }}")
    assert lost and len(list(follow.folder.glob("*.out"))) == 2
    wait_until(lambda: not Slurm().jobs_of("followed-1"), "a job was left")
