"""A rank's place and share of threads, from the launcher's and from srun's environment."""

from pathlib import Path

import pytest

from mwr_hpc.cluster.rank_environment import (
    MEETING,
    RANK,
    RANKS,
    expand_counts,
    placement_from,
    srun_threads,
    thread_environment,
)
from mwr_hpc.errors import ClusterError
from mwr_hpc.training.placement import Placement

# What srun gave the third of three tasks on two nodes (SLURM 22.05, names as they stand).
SRUN = {
    "SLURM_JOB_ID": "7",
    "SLURM_STEP_ID": "0",
    "SLURM_PROCID": "2",
    "SLURM_NODEID": "1",
    "SLURM_LOCALID": "0",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
    "SLURM_LAUNCH_NODE_IPADDR": "10.0.0.1",
}


def test_alone_without_either_environment(tmp_path: Path) -> None:
    assert placement_from({}, tmp_path) is None


def test_a_batch_script_is_no_rank(tmp_path: Path) -> None:
    """It has SLURM_PROCID=0, but srun did not start it."""
    assert placement_from({"SLURM_JOB_ID": "7", "SLURM_PROCID": "0", "SLURM_NTASKS": "4"}, tmp_path) is None


def test_launcher_on_one_host(tmp_path: Path) -> None:
    placement = placement_from({RANK: "3", RANKS: "4", MEETING: "/run/here", **SRUN}, tmp_path)
    assert placement == Placement(3, (4,), Path("/run/here"))
    assert (placement.size, placement.node, placement.local_rank, placement.local_size) == (4, 0, 3, 4)


def test_srun_over_two_nodes(tmp_path: Path) -> None:
    placement = placement_from(SRUN, tmp_path)
    assert placement == Placement(2, (2, 1), tmp_path / "rendezvous-7-0-0", "10.0.0.1")
    assert (placement.size, placement.node, placement.local_rank, placement.local_size) == (3, 1, 0, 1)
    assert placement.peer_nodes == (0, 1)


def test_a_requeued_job_meets_under_another_name(tmp_path: Path) -> None:
    first, second = (placement_from(SRUN | {"SLURM_RESTART_COUNT": count}, tmp_path) for count in "01")
    assert first is not None and second is not None and first.meeting != second.meeting


def test_ranks_dealt_out_in_turn_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="--distribution=block"):
        placement_from(SRUN | {"SLURM_PROCID": "1"}, tmp_path)


@pytest.mark.parametrize(
    ("text", "counts"), [("4", (4,)), ("2(x3)", (2, 2, 2)), ("2(x2),1,3(x2)", (2, 2, 1, 3, 3)), ("16(x1)", (16,))]
)
def test_slurms_short_form_of_counts(text: str, counts: tuple[int, ...]) -> None:
    assert expand_counts(text) == counts


@pytest.mark.parametrize("text", ["", "2(3)", "2,", "two", "-1"])
def test_other_forms_of_counts_are_refused(text: str) -> None:
    with pytest.raises(ClusterError, match="SLURM_STEP_TASKS_PER_NODE"):
        expand_counts(text)


@pytest.mark.parametrize(
    ("environment", "cores", "threads"),
    [
        ({"SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "16"}, 16, 4),
        ({"SLURM_CPUS_PER_TASK": "4"}, 2, 2),  # never more than the affinity allows
        ({"SLURM_CPUS_ON_NODE": "8"}, 64, 4),  # not bound: two ranks share SLURM's 8, not the node's 64
        ({"SLURM_CPUS_ON_NODE": "8"}, 3, 3),  # bound to its own
        ({"SLURM_CPUS_ON_NODE": "1"}, 64, 1),
        ({}, 6, 3),
    ],
)
def test_threads_of_one_of_two_ranks_on_a_node(environment: dict[str, str], cores: int, threads: int) -> None:
    assert srun_threads(2, environment, cores) == threads


def test_all_libraries_get_the_same_bound() -> None:
    environment = thread_environment(3)
    assert environment.pop("TF_NUM_INTEROP_THREADS") == "1"
    assert set(environment.values()) == {"3"}
