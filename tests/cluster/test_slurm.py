"""SLURM's commands without a SLURM: argument lists, what their output means, and a controller that does not answer."""

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from mwr_hpc.cluster import slurm
from mwr_hpc.cluster.job_name import JobName, parse_job_name, run_tag
from mwr_hpc.cluster.slurm import Job, Ran, Slurm, clean_environment, parse_sbatch, parse_show_job, parse_squeue
from mwr_hpc.errors import ClusterError, StopRequested
from mwr_hpc.events import never

SILENT = Ran(1, "", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
NAME = JobName("run1-0a1b2c3d", "train_02", 3)


class Answers:
    """Plays the commands: answers in turn, and remembers what was asked."""

    def __init__(self, *answers: Ran) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def __call__(self, argv: Sequence[str]) -> Ran:
        self.asked.append(argv[0])
        return self.answers.pop(0)


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    slept: list[float] = []
    monkeypatch.setattr(slurm.time, "sleep", slept.append)
    monkeypatch.setattr(slurm.time, "monotonic", lambda: sum(slept))
    return slept


def test_job_names_come_back_and_others_are_nobodys() -> None:
    assert parse_job_name(str(NAME)) == NAME
    assert parse_job_name(str(NAME.next)) == JobName(NAME.run, NAME.unit, 4)
    for other in ("interactive", "mwr.a.b", "mwr.a.b.c", "mwr.a b.c.1", "mwr.a.b.1\n"):
        assert parse_job_name(other) is None


def test_runs_of_one_name_have_different_tags_that_suit_a_job_name(tmp_path: Path) -> None:
    tags = {run_tag(tmp_path / folder / "my run; $(x)|") for folder in "ab"}
    assert len(tags) == 2
    assert all(parse_job_name(str(JobName(tag, "train", 1))) is not None for tag in tags)


def test_squeue_lines_hold_any_name() -> None:
    assert parse_squeue("12|RUNNING|None|a|b c\n13_4|PENDING|Resources|mwr.x.y.1\n") == [
        Job("12", "RUNNING", "a|b c", "None"),
        Job("13_4", "PENDING", "mwr.x.y.1", "Resources"),
    ]
    assert parse_squeue("") == []


def test_scontrol_knows_the_exit_code_of_ended_jobs_only() -> None:
    line = (
        "JobId=7 JobName=mwr.x.y.1 UserId=root(0) JobState={} Reason=NonZeroExitCode Restarts=0 ExitCode=85:0 Node=n1"
    )
    assert parse_show_job(line.format("FAILED")) == Job("7", "FAILED", "mwr.x.y.1", "NonZeroExitCode", 85)
    assert parse_show_job(line.format("RUNNING")).exit_code is None


@pytest.mark.parametrize(("output", "number"), [("42\n", "42"), ("42;cluster\n", "42"), ("a note\n42\n", "42")])
def test_sbatch_prints_a_number(output: str, number: str) -> None:
    assert parse_sbatch(output) == number


def test_what_a_job_was_told_does_not_reach_the_next() -> None:
    given = {"SLURM_MEM_PER_CPU": "1", "SLURM_CONF": "/c", "SBATCH_ACCOUNT": "lab", "PATH": "/bin"}
    assert clean_environment(given) == {"SLURM_CONF": "/c", "SBATCH_ACCOUNT": "lab", "PATH": "/bin"}


def test_a_silent_controller_is_waited_for(no_waiting: list[float]) -> None:
    answers = Answers(
        SILENT, SILENT, Ran(1, "", "Socket timed out on send/recv operation"), Ran(0, "1|RUNNING||x\n", "")
    )
    assert Slurm(answers).own_jobs() == [Job("1", "RUNNING", "x", "")]
    assert sum(no_waiting) == 1 + 2 + 4


def test_patience_ends_and_a_stop_ends_it_sooner() -> None:
    with pytest.raises(ClusterError, match="has not answered for 100 s"):
        Slurm(lambda argv: SILENT, patience=100).own_jobs()
    with pytest.raises(StopRequested):
        Slurm(lambda argv: SILENT, should_stop=lambda: True).own_jobs()


def test_a_refusal_is_an_error_at_once(no_waiting: list[float]) -> None:
    refused = Ran(1, "", "sbatch: error: Batch job submission failed: Invalid partition name specified")
    with pytest.raises(ClusterError, match="Invalid partition name"):
        Slurm(Answers(refused)).submit(["sbatch", "x"], NAME)
    assert no_waiting == []


UNKNOWN = "sbatch: error: Batch job submission failed: Unspecified error"


def stand_in(folder: Path, name: str, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a program of one of SLURM's names first on PATH; each call of it adds a line to `calls`."""
    program = folder / name
    program.write_text(f"#!/bin/sh\necho {name} >> {folder}/calls\ncalls=$(grep -c {name} {folder}/calls)\n{script}\n")
    program.chmod(0o755)
    if not os.environ["PATH"].startswith(str(folder)):
        monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)


def test_sbatch_that_fails_for_no_known_reason_is_tried_again_with_growing_pauses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_waiting: list[float]
) -> None:
    stand_in(tmp_path, "sbatch", f"[ $calls -ge 3 ] && echo 43 && exit\necho '{UNKNOWN}' >&2; exit 1", monkeypatch)
    stand_in(tmp_path, "squeue", "exit 0", monkeypatch)
    assert Slurm().submit(["sbatch", "x"], NAME) == "43"
    calls = (tmp_path / "calls").read_text().split()
    assert calls == ["sbatch", "squeue", "sbatch", "squeue", "sbatch"]  # never twice under one name
    assert sum(seconds for seconds in no_waiting if seconds >= 1) == 2 + 8


def test_sbatch_that_goes_on_failing_is_given_up_with_its_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_waiting: list[float]
) -> None:
    stand_in(tmp_path, "sbatch", f"echo '{UNKNOWN}' >&2; exit 1", monkeypatch)
    stand_in(tmp_path, "squeue", "exit 0", monkeypatch)
    with pytest.raises(ClusterError, match="Unspecified error"):
        Slurm().submit(["sbatch", "x"], NAME)
    assert (tmp_path / "calls").read_text().split().count("sbatch") == 4
    assert sum(seconds for seconds in no_waiting if seconds >= 1) == 2 + 8 + 30


def test_squeue_that_fails_for_no_known_reason_is_tried_again(no_waiting: list[float]) -> None:
    answers = Answers(Ran(1, "", "slurm_load_jobs error: Unspecified error"), Ran(0, "1|RUNNING||x\n", ""))
    assert Slurm(answers).own_jobs() == [Job("1", "RUNNING", "x", "")]
    assert sum(no_waiting) == 2


def test_a_stop_ends_the_further_tries() -> None:
    with pytest.raises(StopRequested):
        Slurm(lambda argv: Ran(1, "", UNKNOWN), should_stop=lambda: True).own_jobs()


def test_a_job_whose_submission_was_not_answered_is_not_submitted_twice() -> None:
    lost = Ran(1, "", "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
    answers = Answers(lost, SILENT, Ran(0, f"41|PENDING||other\n42|PENDING||{NAME}\n", ""))
    assert Slurm(answers).submit(["sbatch", "x"], NAME) == "42"
    assert answers.asked == ["sbatch", "squeue", "squeue"]


def test_a_job_that_was_not_submitted_is_submitted_again() -> None:
    answers = Answers(SILENT, Ran(0, "", ""), Ran(0, "43\n", ""))
    assert Slurm(answers).submit(["sbatch", "x"], NAME) == "43"
    assert answers.asked == ["sbatch", "squeue", "sbatch"]


def test_a_forgotten_job_is_none() -> None:
    assert Slurm(Answers(Ran(1, "", "slurm_load_jobs error: Invalid job id specified"))).job("9") is None


def test_the_jobs_of_a_run_are_its_own() -> None:
    lines = [f"1|RUNNING||{NAME}", "2|RUNNING||mwr.run1-ffffffff.train_02.1", "3|RUNNING||somebody's"]
    jobs = Slurm(Answers(Ran(0, "\n".join(lines), ""))).jobs_of(NAME.run)
    assert {name: job.id for name, job in jobs.items()} == {NAME: "1"}


def test_a_missing_command_says_what_is_the_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClusterError, match="squeue not found"):
        Slurm(should_stop=never).own_jobs()
