"""Work inside the allocation that this process runs in: Dask workers and ranks on its nodes, started by srun.

For sites where jobs may not submit jobs.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mwr_hpc.cluster.keys import Keys, make_keys
from mwr_hpc.cluster.local_pool import private_folder
from mwr_hpc.cluster.pool import DaskPool
from mwr_hpc.cluster.rank_environment import MEETING, RANK, RANKS, expand_counts, python_environment, thread_environment
from mwr_hpc.cluster.slurm_pool import OWN_FOLDER, folder_lines, scheduler_address
from mwr_hpc.cluster.worker_processes import WorkerProcesses
from mwr_hpc.errors import ClusterError


@dataclass(frozen=True)
class Allocation:
    """What SLURM gave: nodes, and the cores of each that can be used on all of them."""

    nodes: int
    cores: int

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Allocation":
        """Read a batch script's environment.

        Raises
        ------
        ClusterError
            There is no allocation.
        """
        if "SLURM_JOB_CPUS_PER_NODE" not in environment:
            raise ClusterError("this is no job of SLURM: submit jobs/run_in_allocation.sbatch instead")
        cores = expand_counts(environment["SLURM_JOB_CPUS_PER_NODE"])
        return cls(int(environment["SLURM_JOB_NUM_NODES"]), min(cores))


def step_argv(nodes: int, tasks_per_node: int, cores: int, command: Sequence[str], first: int = 0) -> list[str]:
    """Command line that runs `command` `tasks_per_node` times on each node with `cores` cores each, as a job step.

    It runs on `nodes` nodes of the allocation from number `first` (from 0) on. Steps may overlap: workers have nothing
    to do while ranks train.
    """
    words = [f"--relative={first}", f"--nodes={nodes}"]
    words += [f"--ntasks={nodes * tasks_per_node}", f"--ntasks-per-node={tasks_per_node}"]
    words += [f"--cpus-per-task={cores}", "--overlap", "--distribution=block", "--kill-on-bad-exit=0", "--wait=0"]
    return ["srun", *words, *command]


FAREWELL = 30.0
"""Seconds that the workers of a node have to leave: srun has to reach them."""

GENTLE = """
srun "$@" &
child=$!
trap 'kill -USR1 "$child"' TERM
while kill -0 "$child" 2>/dev/null; do wait "$child"; done
wait "$child"
"""
"""Shell commands that hand USR1 to srun, which passes it on to all ranks, where TERM would make it kill them."""


def ranks_argv(allocation: Allocation, ranks_per_node: int, command: Sequence[str]) -> list[str]:
    """Command line that runs a rank's program on all nodes; `ranks.run_ranks` stays with it as with one local rank.

    The names by which a local rank finds its place must not reach those that srun numbers.
    """
    forget = [word for name in (RANK, RANKS, MEETING) for word in ("-u", name)]
    step = step_argv(allocation.nodes, ranks_per_node, max(1, allocation.cores // ranks_per_node), command)
    return ["env", *forget, "bash", "-c", GENTLE, *step]


@contextlib.contextmanager
def allocation_pool(
    allocation: Allocation, units_at_once: int, *, interface: str | None, scratch: str | None, secrets: Path, logs: Path
) -> Iterator[DaskPool]:
    """A pool of workers on all nodes of the allocation, ended on leaving.

    Parameters
    ----------
    allocation
        Where.
    units_at_once
        Worker processes on each node, which share its cores out.
    interface, scratch
        Of the site profile.
    secrets
        Folder for the keys of TLS, which all nodes see.
    logs
        Folder for the workers' output.
    """
    from mwr_hpc.cluster.scheduler import names_of_workers, scheduling

    keys = make_keys(secrets / "allocation")
    logs.mkdir(parents=True, exist_ok=True)
    log = logs / "allocation_workers.out"
    environment = os.environ | _worker_environment(max(1, allocation.cores // units_at_once))
    tie = [sys.executable, "-m", "mwr_hpc.cluster.tied_process", str(os.getpid())]

    def start(node: int, name: str) -> subprocess.Popen[bytes]:
        program = [*_worker_program(units_at_once, keys, interface, scratch), cluster.scheduler_address, "--name", name]
        with open(log, "ab") as output:
            return subprocess.Popen(
                [*tie, *step_argv(1, 1, allocation.cores, program, node)],
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C and the job script's signals are for the coordinator
            )

    with (
        private_folder() as folder,
        scheduling(keys, folder, **scheduler_address(interface)) as (cluster, client),
        WorkerProcesses(
            start,
            allocation.nodes,
            lambda: names_of_workers(cluster),
            lambda _: f"The workers of this allocation wrote {log}",
            farewell=FAREWELL,
        ) as processes,
    ):
        yield DaskPool(client, processes.check)


def _worker_environment(threads: int) -> dict[str, str]:
    from mwr_hpc.cluster.scheduler import WORKER_SETTINGS

    return python_environment() | WORKER_SETTINGS | thread_environment(threads)


def _worker_program(units_at_once: int, keys: Keys, interface: str | None, scratch: str | None) -> list[str]:
    """Command of a node's workers, up to the scheduler's address; they get a private folder on that node."""
    from mwr_hpc.cluster.scheduler import DEATH_TIMEOUT, worker_words

    words = ["--nthreads", "1", "--nworkers", str(units_at_once), "--memory-limit", "auto"]
    words += ["--death-timeout", str(DEATH_TIMEOUT), *worker_words(keys)]
    words += ["--interface", interface] if interface else []
    shell = "\n".join([*folder_lines(scratch), f'"$@" --local-directory {OWN_FOLDER}'])
    return ["bash", "-c", shell, "bash", sys.executable, "-m", "distributed.cli.dask_worker", *words]
