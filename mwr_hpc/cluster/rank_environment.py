"""What a rank learns from its environment: its place among the ranks and its share of the processors.

Two kinds of environment are understood: what `ranks.run_ranks` sets for ranks on one host, and what SLURM's srun sets.
"""

import os
import re
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from mwr_hpc.errors import ClusterError
from mwr_hpc.training.placement import Placement

RANK = "MWR_RANK"
RANKS = "MWR_RANKS"
MEETING = "MWR_RENDEZVOUS"


def accept_rank(meeting_folder: Path) -> Placement | None:
    """Take the place that the environment gives this process, before TensorFlow is imported.

    Parameters
    ----------
    meeting_folder
        A folder that all ranks see; ranks started by srun meet there.

    Returns
    -------
    Placement or None
        None when nobody started this process as a rank.

    Raises
    ------
    ClusterError
        The environment contradicts itself, or the ranks are not numbered node by node.
    """
    placement = placement_from(os.environ, meeting_folder)
    if placement is not None and RANK not in os.environ:
        os.environ.update(thread_environment(srun_threads(placement.local_size, os.environ, _affinity())))
    return placement


def placement_from(environment: Mapping[str, str], meeting_folder: Path) -> Placement | None:
    """Read a rank's place from `environment`; see `accept_rank`.

    A batch script has SLURM_PROCID too; only what srun starts has SLURM_STEP_ID.
    """
    if RANK in environment:
        return Placement(int(environment[RANK]), (int(environment[RANKS]),), Path(environment[MEETING]))
    if "SLURM_STEP_ID" not in environment or "SLURM_PROCID" not in environment:
        return None
    placement = Placement(
        rank=int(environment["SLURM_PROCID"]),
        ranks_per_node=expand_counts(environment["SLURM_STEP_TASKS_PER_NODE"]),
        meeting=meeting_folder / f"rendezvous-{start_of_job(environment)}",
        towards=environment["SLURM_LAUNCH_NODE_IPADDR"],
    )
    told = int(environment["SLURM_NODEID"]), int(environment["SLURM_LOCALID"])
    if told != (placement.node, placement.local_rank):
        raise ClusterError(
            f"SLURM put rank {placement.rank} on node {told[0]} as number {told[1]}, but ranks must be numbered node "
            f"by node ({placement.ranks_per_node} ranks per node): start them with `srun --distribution=block`"
        )
    return placement


def start_of_job(environment: Mapping[str, str]) -> str:
    """Name of this start of the job, the same for all its ranks; SLURM starts a job again after the loss of a node."""
    return "-".join(environment.get(name, "0") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"))


def nodes() -> str:
    """The hosts of all ranks, as SLURM writes them: ``n[1-3,7]``."""
    return os.environ.get("SLURM_STEP_NODELIST", socket.gethostname())


def expand_counts(text: str) -> tuple[int, ...]:
    """Expand SLURM's short form of one number per node: "2(x3),1" is (2, 2, 2, 1).

    Raises
    ------
    ClusterError
        `text` is not of that form.
    """
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        if match is None:
            raise ClusterError(f"SLURM_STEP_TASKS_PER_NODE is {text!r}, expected numbers such as 2(x3),1")
        counts += [int(match[1])] * int(match[2] or 1)
    return tuple(counts)


def local_threads(ranks: int) -> int:
    """Threads for each of `ranks` ranks that share what this process may use of its host."""
    cores = _affinity()
    return max(1, min(cores, int(os.environ.get("SLURM_CPUS_ON_NODE", cores))) // ranks)


def srun_threads(local_size: int, environment: Mapping[str, str], cores: int) -> int:
    """Threads for a rank that srun started beside `local_size` - 1 others, on `cores` cores by its affinity.

    SLURM may have bound the rank to its own cores or have left it all cores of the node, hence the minimum.
    """
    share = int(environment.get("SLURM_CPUS_ON_NODE", cores)) // local_size
    return max(1, min(cores, int(environment.get("SLURM_CPUS_PER_TASK", share))))


def thread_environment(threads: int) -> dict[str, str]:
    """Environment that bounds every library to `threads` threads; they read it when they are imported."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLOSC_NTHREADS", "TF_NUM_INTRAOP_THREADS")
    return dict.fromkeys(names, str(threads)) | {"TF_NUM_INTEROP_THREADS": "1"}


def python_environment() -> dict[str, str]:
    """Environment of another Python process that finds the modules that this one finds.

    Without it ``python -m`` looks in the working directory first, where somebody else may have put a module. Dask adds
    the folder of its temporary files to this process's path, in which there is nothing to be found.
    """
    paths = [path for path in sys.path if path and "dask-scratch-space" not in path]
    return {"PYTHONSAFEPATH": "1", "PYTHONPATH": os.pathsep.join(paths)}


def _affinity() -> int:
    return len(os.sched_getaffinity(0))
