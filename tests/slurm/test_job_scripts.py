"""The job scripts on a real SLURM: signals reach the program, exit 85 requeues after progress, bounded; arrays; ranks.

A shell script stands for Python, so that the program's part is played at once and exactly.
"""

from pathlib import Path

import pytest

from launching import wait_until
from virtual_slurm import VirtualSlurm

pytestmark = pytest.mark.needs("slurm")

JOBS = Path(__file__).parents[2] / "jobs"
SMALL = ("--cpus-per-task=1", "--mem=200M", "--time=5")

STOPS_ONCE = """
trap 'echo got USR1; touch "$MWR_PROGRESS_FILE"; exit 85' USR1 TERM
echo "started with $*"
[ "${SLURM_RESTART_COUNT:-0}$MWR_STARTS" = 0 ] || exit 0
while :; do sleep 0.1; done
"""


class Scripts:
    """Submits job scripts whose Python is a shell program written in the test."""

    def __init__(self, slurm: VirtualSlurm, folder: Path) -> None:
        self.slurm = slurm
        self.folder = folder
        self.python = folder / "python"
        self.setup = folder / "setup.sh"
        self.setup.write_text(f"export MWR_PYTHON={self.python}\necho set up\n")

    def submit(self, name: str, program: str, *words: str, arguments: tuple[str, ...] = ("a b", "$HOME;c")) -> int:
        self.python.write_text(f"#!/usr/bin/env bash\n{program}")
        self.python.chmod(0o755)
        self.slurm.environment["MWR_SETUP"] = str(self.setup)
        try:
            return self.slurm.submit(*SMALL, *words, JOBS / f"{name}.sbatch", *arguments)
        finally:
            del self.slurm.environment["MWR_SETUP"]

    def said(self, job: int | str, words: str) -> None:
        log = self.slurm.log(job)
        wait_until(lambda: log.exists() and words in log.read_text(), f"{log} lacks {words!r}", 60)


@pytest.fixture
def scripts(slurm: VirtualSlurm, tmp_path: Path) -> Scripts:
    return Scripts(slurm, tmp_path)


def test_usr1_stops_the_program_and_the_job_is_requeued_and_completes(slurm: VirtualSlurm, scripts: Scripts) -> None:
    job = scripts.submit("coordinator", STOPS_ONCE, arguments=("train", "--run_dir", "a b", "$HOME;c"))
    scripts.said(job, "started with -m mwr_hpc.cli.main train --run_dir a b $HOME;c --slurm")
    slurm.run("scancel", "--batch", "--signal=USR1", job)
    known = slurm.wait(job, ["COMPLETED"], 90)
    assert known["Restarts"] == "1"
    log = slurm.log(job).read_text()
    assert log.count("set up") == 2
    assert log.count("got USR1") == 1


def test_a_command_of_one_node_runs_as_it_is_given_and_goes_on_after_a_stop(
    slurm: VirtualSlurm, scripts: Scripts
) -> None:
    job = scripts.submit("one_node", STOPS_ONCE, arguments=("boxnet", "simulate", "a b", "$HOME;c"))
    scripts.said(job, "started with -m mwr_hpc.cli.main boxnet simulate a b $HOME;c\n")
    slurm.run("scancel", "--batch", "--signal=USR1", job)
    assert slurm.wait(job, ["COMPLETED"], 90)["Restarts"] == "1"
    assert slurm.log(job).read_text().count("boxnet simulate a b $HOME;c\n") == 2


def test_the_time_limit_sends_usr1_first(slurm: VirtualSlurm, scripts: Scripts) -> None:
    job = scripts.submit("coordinator", STOPS_ONCE, "--time=4")  # 180 s before the end: after about a minute
    scripts.said(job, "started with")
    slurm.wait(job, ["PENDING", "COMPLETED"], 120)
    assert "got USR1" in slurm.log(job).read_text()
    assert slurm.wait(job, ["COMPLETED"], 60)["Restarts"] == "1"


def test_without_progress_a_stopped_job_is_not_requeued(slurm: VirtualSlurm, scripts: Scripts) -> None:
    job = scripts.submit("coordinator", "exit 85\n")
    known = slurm.wait(job)
    assert (known["JobState"], known["ExitCode"], known["Restarts"]) == ("FAILED", "85:0", "0")
    assert "achieved nothing" in slurm.log(job).read_text()


@pytest.mark.parametrize("code", [0, 1, 2])
def test_the_exit_code_is_the_jobs(slurm: VirtualSlurm, scripts: Scripts, code: int) -> None:
    known = slurm.wait(scripts.submit("coordinator", f'touch "$MWR_PROGRESS_FILE"; exit {code}\n'))
    assert (known["ExitCode"], known["Restarts"]) == (f"{code}:0", "0")


def test_a_cancelled_job_stops_in_good_order_and_stays_cancelled(slurm: VirtualSlurm, scripts: Scripts) -> None:
    job = scripts.submit("coordinator", STOPS_ONCE)
    scripts.said(job, "started with")
    slurm.run("scancel", "--full", job)
    assert slurm.wait(job)["JobState"] == "CANCELLED"
    scripts.said(job, "got USR1")
    wait_until(lambda: not slurm.run("squeue", "--noheader"), "a cancelled job came back", 30)


def test_where_requeueing_is_refused_a_successor_is_submitted(slurm: VirtualSlurm, scripts: Scripts) -> None:
    job = scripts.submit("coordinator", STOPS_ONCE, "--no-requeue", "--constraint=virtual", "--gres=gpu:1")
    scripts.said(job, "started with")
    slurm.run("scancel", "--batch", "--signal=USR1", job)
    assert slurm.wait(job)["ExitCode"] == "85:0"
    successor = slurm.wait(job + 1)
    assert successor["JobState"] == "COMPLETED"
    for what in ("JobName", "TimeLimit", "NumCPUs", "Partition", "MinMemoryNode", "Features", "TresPerNode", "StdOut"):
        assert successor.get(what) == slurm.job(job).get(what), what
    assert slurm.log(job).read_text().count("started with -m mwr_hpc.cli.main a b $HOME;c --slurm") == 2


def test_ranks_are_numbered_node_by_node_and_stop_together(slurm: VirtualSlurm, scripts: Scripts) -> None:
    program = """
trap 'sleep $SLURM_PROCID; touch "$MWR_PROGRESS_FILE"; echo checkpoint $SLURM_PROCID; exit 85' USR1
echo "rank $SLURM_PROCID on $SLURM_NODEID with $*"
[ "${SLURM_RESTART_COUNT:-0}" = 0 ] || exit 0
while :; do sleep 0.1; done
"""
    older, newest = (scripts.folder / f"run/iterations/{number}/rank_job.json" for number in ("01", "02"))
    for path in (older, newest):
        path.parent.mkdir(parents=True)
        path.touch()
    job = scripts.submit("train", program, "--nodes=2", "--ntasks-per-node=2", arguments=(str(scripts.folder / "run"),))
    scripts.said(job, f"rank 3 on 1 with -m mwr_hpc.cli.rank {newest}")
    slurm.run("scancel", "--batch", "--signal=USR1", job)
    assert slurm.wait(job, ["COMPLETED"], 90)["Restarts"] == "1"
    log = slurm.log(job).read_text()
    assert all(f"checkpoint {rank}" in log and f"rank {rank} on {rank // 2}" in log for rank in range(4))


def test_elements_of_an_array_take_their_shares_also_after_a_requeue(slurm: VirtualSlurm, scripts: Scripts) -> None:
    program = 'echo "$*"\n[ -n "$SLURM_RESTART_COUNT" ] && exit 0\ntouch "$MWR_PROGRESS_FILE"; exit 85\n'
    job = scripts.submit("predict_sweep", program, "--array=5-7", arguments=("model.h5", "--out", "x"))
    for element in (5, 6, 7):
        slurm.wait(f"{job}_{element}", ["COMPLETED"], 90)
    logs = [path.read_text() for path in (slurm.folder / "jobs").iterdir() if "--share" in path.read_text()]
    said = sorted(line for log in logs for line in log.splitlines() if "--share" in line)
    expected = [f"-m mwr_hpc.cli.main predict model.h5 --out x --share {share}/3" for share in (0, 1, 2)]
    assert said == sorted(expected * 2)


def test_without_an_array_the_sweep_takes_everything(slurm: VirtualSlurm, scripts: Scripts) -> None:
    job = scripts.submit("predict_sweep", 'echo "$*"\n', arguments=("model.h5",))
    assert slurm.wait(job)["JobState"] == "COMPLETED"
    assert "-m mwr_hpc.cli.main predict model.h5\n" in slurm.log(job).read_text()
