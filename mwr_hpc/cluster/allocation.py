"""Work inside the allocation that this process runs in: Dask workers and ranks on its nodes, started by srun.

For sites where jobs may not submit jobs.
"""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mwr_hpc.cluster.pool import SCHEDULER_SETTINGS, DaskPool
from mwr_hpc.cluster.rank_environment import MEETING, RANK, RANKS, expand_counts, thread_environment
from mwr_hpc.cluster.slurm_pool import DEATH_TIMEOUT, WORKER_SETTINGS, make_keys, scheduler_address
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


def step_argv(nodes: int, tasks_per_node: int, cores: int, command: Sequence[str]) -> list[str]:
    """Command line that runs `command` `tasks_per_node` times on each node with `cores` cores each, as a job step.

    Steps may overlap: workers have nothing to do while ranks train.
    """
    words = [f"--nodes={nodes}", f"--ntasks={nodes * tasks_per_node}", f"--ntasks-per-node={tasks_per_node}"]
    words += [f"--cpus-per-task={cores}", "--overlap", "--distribution=block", "--kill-on-bad-exit=0", "--wait=0"]
    return ["srun", *words, *command]


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
    import dask
    from distributed import Client, LocalCluster

    keys = make_keys(secrets / "allocation")
    logs.mkdir(parents=True, exist_ok=True)
    with (
        dask.config.set(SCHEDULER_SETTINGS),
        LocalCluster(
            n_workers=0,
            protocol="tls://",
            security=keys.security(),
            dashboard_address=None,
            scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
            silence_logs="critical",
            **scheduler_address(interface),
        ) as cluster,
        Client(cluster) as client,
        _workers(cluster.scheduler_address, allocation, units_at_once, keys.words(), interface, scratch, logs) as check,
    ):
        yield DaskPool(client, check)


@contextlib.contextmanager
def _workers(
    scheduler: str,
    allocation: Allocation,
    units_at_once: int,
    tls: Sequence[str],
    interface: str | None,
    scratch: str | None,
    logs: Path,
) -> Iterator[Callable[[], None]]:
    """Workers on all nodes; what it gives raises when they are gone."""
    words = ["-m", "distributed.cli.dask_worker", scheduler, "--nthreads", "1", "--nworkers", str(units_at_once)]
    words += ["--memory-limit", "auto", "--no-dashboard", "--death-timeout", str(DEATH_TIMEOUT), *tls]
    words += ["--preload", "mwr_hpc.cluster.worker_setup"]
    words += ["--interface", interface] if interface else []
    words += ["--local-directory", os.path.expandvars(scratch)] if scratch else []
    threads = thread_environment(max(1, allocation.cores // units_at_once))
    argv = step_argv(allocation.nodes, 1, allocation.cores, [sys.executable, *words])
    log = logs / "allocation_workers.out"
    tie = [sys.executable, "-m", "mwr_hpc.cluster.tied_process", str(os.getpid())]
    with open(log, "ab") as output:
        step = subprocess.Popen(
            [*tie, *argv],
            env=os.environ | WORKER_SETTINGS | threads,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C and the job script's signals are for the coordinator
        )

    def check() -> None:
        if step.poll() is not None:
            raise ClusterError(
                f"the workers of this allocation ended with exit code {step.returncode}; they wrote {log}"
            )

    try:
        yield check
    finally:
        step.terminate()
        try:
            step.wait(30)
        except subprocess.TimeoutExpired:
            step.kill()
            step.wait()
