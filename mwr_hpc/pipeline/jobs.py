"""A run as jobs of SLURM, from outside: submit its coordinator, see its jobs, end them all; take tomograms in again."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mwr_hpc.cluster.followed_job import submit_attempt
from mwr_hpc.cluster.job_name import JobName, parse_job_name, run_tag
from mwr_hpc.cluster.keys import Keys
from mwr_hpc.cluster.slurm import Job, Slurm
from mwr_hpc.cluster.slurm_pool import WorkerScript
from mwr_hpc.cluster.submission import ONE_NODE, one_node_argv, submit_argv, sweep_argv, training_argv
from mwr_hpc.config.boxnet_data import PrepareExamplesSettings, SimulateMicrographsSettings
from mwr_hpc.config.boxnet_generic import TrainGenericSettings
from mwr_hpc.config.boxnet_picking import EvaluatePicksSettings, PickSettings
from mwr_hpc.config.boxnet_training import RetrainSettings
from mwr_hpc.config.schema import PredictSettings, TrainSettings
from mwr_hpc.config.site import SiteProfile, WorkerResources
from mwr_hpc.errors import ClusterError, ConfigError
from mwr_hpc.io.atomic import require_writable
from mwr_hpc.pipeline.backend import PREDICTION, PREPARATION, picks_at_once
from mwr_hpc.pipeline.launch import JOB_FILE
from mwr_hpc.pipeline.quarantine import Quarantine
from mwr_hpc.pipeline.status import Status, coordinator_of, status_of
from mwr_hpc.pipeline.training_job import UNIT
from mwr_hpc.run_directory import STATE_FOLDER, RunDirectory

Submittable = (
    TrainSettings
    | PredictSettings
    | RetrainSettings
    | PickSettings
    | SimulateMicrographsSettings
    | PrepareExamplesSettings
    | EvaluatePicksSettings
    | TrainGenericSettings
)

COORDINATOR, SWEEP = "coordinator", "sweep"
"""Units in the names of the jobs that `submit` submits."""

ONE_NODE_UNITS = {command: command.removeprefix("boxnet ").replace(" ", "-") for command in ONE_NODE}
"""Those of the commands that work within one node, of which several may have one folder. With dashes: who trains takes
what begins as `training_job.UNIT` for a training job."""


@dataclass(frozen=True)
class Submission:
    """What `submit` is asked for.

    Attributes
    ----------
    site
        The site profile.
    settings
        Of the command.
    words
        The words after the command, which the job gives to it again.
    array
        Elements of an array that share a sweep; None: a coordinator, or one job for what works within one node.
    """

    site: SiteProfile
    settings: Submittable
    words: Sequence[str]
    array: int | None = None

    @property
    def trains(self) -> bool:
        """Whether it has a run directory of its own; else it writes to a folder of results."""
        return isinstance(self.settings, TrainSettings | RetrainSettings | TrainGenericSettings)

    @property
    def on_one_node(self) -> bool:
        """Whether its job does all the work itself."""
        return self.settings.command in ONE_NODE

    @property
    def folder(self) -> Path:
        """The run's folder; of what leaves no files that of what it looks at."""
        match self.settings:
            case TrainSettings() | RetrainSettings() | TrainGenericSettings():
                return self.settings.run_dir
            case PickSettings() | PrepareExamplesSettings():
                return self.settings.folder
            case EvaluatePicksSettings():
                assert self.settings.picked is not None, "the settings require picks"
                return self.settings.picked
        return self.settings.out

    @property
    def state(self) -> Path:
        """Folder for keys, records and logs."""
        return self.folder if self.trains else self.folder / STATE_FOLDER

    @property
    def name(self) -> JobName:
        """The run and unit of the job."""
        unit = SWEEP if self.array else ONE_NODE_UNITS.get(self.settings.command, COORDINATOR)
        return JobName(run_tag(self.folder), unit)

    @property
    def log(self) -> Path:
        """What the job writes; of an array one for each element beside it."""
        return self.state / "logs" / f"{self.name.unit}.out"

    def argv(self, attempt: JobName) -> list[str]:
        """Command line of one attempt."""
        if self.array:
            return sweep_argv(self.site, self.settings.command, self.words, attempt, self.log, self.array)
        if self.on_one_node:
            return one_node_argv(self.site, self.settings.command, self.words, attempt, self.log)
        return submit_argv(self.site, self.settings.command, self.words, attempt, self.log)

    def described(self) -> str:
        """The command lines, and the script of a worker job, as they would be; for ``--dry-run``."""
        parts = [shlex.join(self.argv(self.name))]
        if self.array or self.on_one_node:
            return parts[0]
        run, site, logs = self.name.run, self.site, self.state / "logs"
        if self.trains:
            job_file = RunDirectory(self.folder).iteration(1) / JOB_FILE
            training = training_argv(site, job_file, JobName(run, f"{UNIT}01"), logs / f"{UNIT}01.out")
            parts.append(f"# For each training it submits:\n{shlex.join(training)}")
        for unit, (resources, units_at_once) in self._pools().items():
            secrets = self.state / ".secrets" / unit
            keys = Keys(secrets / "certificate.pem", secrets / "key.pem")
            script = WorkerScript(site, resources, units_at_once, keys).text("tls://COORDINATOR", JobName(run, unit))
            parts.append(f"# For each worker it submits:\n{script}")
        return "\n\n".join(parts)

    def _pools(self) -> dict[str, tuple[WorkerResources, int]]:
        """What the workers of each pool ask for, and how many units each works on at once."""
        site = self.site
        if isinstance(self.settings, TrainSettings):
            return {PREPARATION: (site.preparation, site.preparation.cores)}
        if isinstance(self.settings, RetrainSettings):
            return {}
        return {PREDICTION: (site.prediction, picks_at_once(site) if isinstance(self.settings, PickSettings) else 1)}


def has_status(unit: str) -> bool:
    """Whether `status` can tell how far a job of this unit is: of those on one node only a training leaves events."""
    return unit not in ONE_NODE_UNITS.values() or unit == ONE_NODE_UNITS[TrainGenericSettings.command]


def submit(submission: Submission, slurm: Slurm) -> str:
    """Submit the job and return its number.

    Raises
    ------
    ConfigError
        The run is queued or running.
    InputError
        Its folder cannot be written to.
    ClusterError
        SLURM refuses the job.
    """
    folder = submission.folder
    require_writable(submission.state)
    for unit, job in _submitted(slurm, submission.name.run):
        watch = f"Watch it with `mwr-hpc status {folder}`" if has_status(unit) else "Wait for it"
        raise ConfigError(
            f"{folder}: this run has a job already, {job.id} ({unit}), which is {job.state}. {watch}, end it with "
            f"`mwr-hpc cancel {folder}`, or choose another folder."
        )
    _refuse_if_running(folder)
    submission.log.parent.mkdir(parents=True, exist_ok=True)
    return submit_attempt(
        slurm, submission.name, submission.argv, submission.state / "jobs" / f"{submission.name.unit}.json"
    )


def cancel(folder: Path, slurm: Slurm, tell: Callable[[str], None]) -> None:
    """End all jobs of a run: first what `submit` submitted, in good order, so that no others are submitted meanwhile.

    Raises
    ------
    ConfigError
        The coordinator is no job of the run.
    """
    own = run_tag(folder)
    _end(slurm, [job for _, job in _submitted(slurm, own)], tell)
    _refuse_if_running(folder)
    _end(slurm, slurm.all_of(own), tell)


def _submitted(slurm: Slurm, run: str) -> list[tuple[str, Job]]:
    """The waiting and running jobs of a run that `submit` submitted, with their units."""
    named = ((parse_job_name(job.name), job) for job in slurm.all_of(run))
    units = (COORDINATOR, SWEEP, *ONE_NODE_UNITS.values())
    return [(name.unit, job) for name, job in named if name is not None and name.unit in units]


def _end(slurm: Slurm, jobs: Sequence[Job], tell: Callable[[str], None]) -> None:
    for job in jobs:
        tell(f"ending job {job.id} ({job.name}), which is {job.state}")
    slurm.end([job.id for job in jobs], gently=True)


def status_with_jobs(folder: Path) -> tuple[Status, list[Job] | None]:
    """Where a run stands, and its waiting and running jobs; None for these where SLURM does not answer.

    Raises
    ------
    ConfigError
        There is no run.
    """
    status = status_of(folder)
    try:
        jobs = Slurm(patience=0.0).all_of(run_tag(folder))
    except ClusterError:
        return status, None
    return (replace(status, state="waiting") if jobs and status.state == "stopped" else status), jobs


def retry(folder: Path, identifiers: Sequence[str]) -> list[str]:
    """Release quarantined tomograms, so that the next start tries them again; return their ids.

    Raises
    ------
    ConfigError
        One of `identifiers` is not left out.
    """
    folders = [RunDirectory(folder).quarantine, *sorted((folder / STATE_FOLDER / "quarantine").glob("*"))]
    quarantines = [Quarantine(path) for path in folders]
    left_out = {record.identifier for quarantine in quarantines for record in quarantine}
    if unknown := set(identifiers) - left_out:
        listed = ", ".join(sorted(left_out)) or "none"
        raise ConfigError(f"{folder}: {', '.join(sorted(unknown))} not left out by this run; left out are: {listed}")
    released = sorted(set(identifiers) or left_out)
    for quarantine in quarantines:
        for identifier in released:
            quarantine.release(identifier)
    return released


def _refuse_if_running(folder: Path) -> None:
    holder, state = coordinator_of(folder)
    if holder is not None and state == "running":
        job = f", SLURM job {holder['job']}" if holder["job"] else ""
        raise ConfigError(
            f"{folder}: this run is at work in process {holder['pid']} on {holder['host']}{job}. Wait for it, or stop "
            "it there with Ctrl-C."
        )
