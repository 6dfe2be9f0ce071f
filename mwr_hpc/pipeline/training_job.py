"""The training as a job of SLURM: submitted, watched through its log, and found again by the next coordinator."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from mwr_hpc.cluster.followed_job import follow_job, wait_for_job
from mwr_hpc.cluster.job_name import JobName
from mwr_hpc.cluster.slurm import Job, Slurm
from mwr_hpc.cluster.submission import training_argv
from mwr_hpc.config.site import SiteProfile
from mwr_hpc.errors import ClusterError, ConfigError
from mwr_hpc.events import Emit, Notice, ShouldStop
from mwr_hpc.pipeline.launch import JOB_FILE
from mwr_hpc.pipeline.rank_claim import new_claim
from mwr_hpc.pipeline.rank_job import Blame, RankJob, is_event, showing

UNIT = "train_"
"""Begins the unit in the names of training jobs; the iteration follows."""

CLAIM_FILE = "rank_claim.json"

LAST_LINES = 20
"""How much of a failed job's log its error quotes."""


@dataclass(frozen=True)
class TrainingJobs:
    """The training jobs of one run.

    Parameters
    ----------
    site
        What they ask for.
    slurm
        Submits and finds them.
    run
        The run in their names.
    records, logs
        Folders for the attempts, and for the jobs' output.
    emit, should_stop
        Told what the ranks tell; polled.
    interval
        Seconds between looks at a job.
    """

    site: SiteProfile
    slurm: Slurm
    run: str
    records: Path
    logs: Path
    emit: Emit
    should_stop: ShouldStop
    interval: float

    def __call__(self, job: RankJob) -> None:
        """Have a job train, and stay with it to its end.

        Raises
        ------
        ClusterError
            The job failed; its last lines are quoted.
        WorkGoesOn
            A stop was asked for; the job goes on.
        """
        folder = job.curves_path.parent
        name = JobName(self.run, f"{UNIT}{folder.name}")
        log = self._log(name)

        def argv(attempt: JobName) -> list[str]:
            job.claim.check()
            own = replace(job, claim=new_claim(folder / CLAIM_FILE), outlives=True)
            own.write(folder / JOB_FILE)
            return training_argv(self.site, folder / JOB_FILE, attempt, log)

        self.logs.mkdir(parents=True, exist_ok=True)
        blame = Blame(self.emit)
        tell = self._teller(log, blame)
        try:
            follow_job(
                self.slurm,
                name,
                argv,
                self.records / f"{name.unit}.json",
                look=tell,
                should_stop=self.should_stop,
                interval=self.interval,
            )
        except ClusterError as error:
            lines = [line for line in _lines(log) if not is_event(line)][-LAST_LINES:]
            quoted = "".join(f"\n    {line}" for line in lines)
            failure = ClusterError(f"{error}. The last lines of {log}:{quoted}") if lines else error
            raise blame.found_in(failure) from None

    def adopt(self) -> None:
        """Stay with the job that a coordinator before this one submitted, if there is one, to its end.

        How it ends does not matter here: what it achieved is on the disk.
        """
        while found := self._running():
            name, job = found[0]
            self.emit(Notice(f"job {job.id} ({name}) goes on with the training from before; waiting for its end"))
            wait_for_job(self.slurm, job.id, self._teller(self._log(name), self.emit), self.should_stop, self.interval)

    def end(self) -> None:
        """End the job that a coordinator before this one submitted: its result is not wanted any more."""
        self.slurm.end([job.id for _, job in self._running()])

    def _running(self) -> list[tuple[JobName, Job]]:
        jobs = self.slurm.jobs_of(self.run)
        return [(name, job) for name, job in jobs.items() if name.unit.startswith(UNIT) and not job.ended]

    def _log(self, name: JobName) -> Path:
        return self.logs / f"{name.unit}.out"

    def _teller(self, log: Path, emit: Emit) -> Callable[[Job], None]:
        """What tells, at every look at the job, the events that its log holds since the last look."""
        tell = showing(emit, lambda line: None)
        read = log.stat().st_size if log.exists() else 0

        def look(job: Job) -> None:
            nonlocal read
            with log.open("rb") if log.exists() else open("/dev/null", "rb") as stream:
                stream.seek(read)
                whole, newline, _ = stream.read().rpartition(b"\n")
            read += len(whole) + len(newline)
            for line in whole.decode(errors="replace").splitlines():
                tell(line)

        return look


def require_no_job(folder: Path, records: Path, run: str) -> None:
    """See that no job of SLURM trains in a run that is to go on without SLURM.

    Where SLURM does not answer, jobs of before lose their right to publish.

    Raises
    ------
    ConfigError
        One does.
    """
    if not any(records.glob(f"{UNIT}*.json")):
        return
    with contextlib.suppress(ClusterError):
        for job in Slurm(patience=0.0).all_of(run):
            raise ConfigError(
                f"{folder}: job {job.id} ({job.name}) of SLURM is {job.state} and works on this run; go on with "
                f"--slurm, or end it with `mwr-hpc cancel {folder}`"
            )
    for claim in folder.glob(f"iterations/*/{CLAIM_FILE}"):
        claim.unlink()


def _lines(log: Path) -> list[str]:
    return log.read_text(errors="replace").splitlines() if log.exists() else []
