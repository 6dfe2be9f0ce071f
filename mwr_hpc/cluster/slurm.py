"""SLURM's commands: pure functions from parameters to argument lists and from output to records, and what runs them.

The state of a job comes from squeue and scontrol, never from sacct: many sites keep no accounting. A controller that
does not answer for a while is waited for.
"""

import os
import re
import subprocess
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from mwr_hpc.cluster.job_name import JobName, parse_job_name
from mwr_hpc.errors import ClusterError, StopRequested
from mwr_hpc.events import ShouldStop, never

ENDED = frozenset(
    {
        *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED"),
        *("NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED", "TIMEOUT"),
    }
)
"""States that a job does not leave (unless somebody requeues it)."""

PATIENCE = 1800.0
"""Seconds to wait for a controller that does not answer."""

COMMAND_TIMEOUT = 60.0

_NO_ANSWER = re.compile(
    r"timed out|unable to contact|connection (refused|reset|failure)|not responding|temporarily|zero bytes|"
    r"transport endpoint|standby mode|protocol authentication|no route to host|network is unreachable",
    re.IGNORECASE,
)
"""What SLURM's commands say when the controller, not the request, is at fault."""

_REFUSAL = re.compile(
    r"invalid|not available|unrecogni[sz]ed|unable to open|no such file|not permitted|than permitted|denied|violates|"
    r"not be satisfied|line breaks",
    re.IGNORECASE,
)
"""Messages of SLURM that find fault with the request, so that asking again is no use."""

MORE_TRIES = (2.0, 8.0, 30.0)
"""Seconds to wait before each further try of a command that failed for no reason known here."""

_UNKNOWN_JOB = re.compile(r"invalid job id", re.IGNORECASE)

_KEPT_VARIABLES = ("SLURM_CONF", "SLURM_CLUSTERS")


@dataclass(frozen=True)
class Job:
    """One line of squeue, or what scontrol knows.

    Attributes
    ----------
    id
        ``123``, or ``123_4`` for an element of an array.
    state
        SLURM's long name, such as RUNNING.
    name
        As submitted.
    reason
        Why it waits, or why it ended as it did.
    exit_code
        Of the batch script; only of ended jobs.
    """

    id: str
    state: str
    name: str = ""
    reason: str = ""
    exit_code: int | None = None

    @property
    def ended(self) -> bool:
        """Whether it will not run again by itself."""
        return self.state in ENDED


SQUEUE_FORMAT = "%i|%T|%r|%j"
"""The name comes last: others' names may hold anything."""


def squeue_argv(jobs: Sequence[str] = ()) -> list[str]:
    """Arguments that list the user's own jobs, or those of `jobs` that SLURM still remembers."""
    chosen = [f"--jobs={','.join(jobs)}", "--states=all"] if jobs else ["--me"]
    return ["squeue", "--noheader", f"--format={SQUEUE_FORMAT}", *chosen]


def parse_squeue(output: str) -> list[Job]:
    """Read what `squeue_argv` makes squeue print."""
    jobs = []
    for line in output.splitlines():
        identifier, state, reason, name = line.split("|", 3)
        jobs.append(Job(identifier.strip(), state, name, reason))
    return jobs


def show_job_argv(job: str) -> list[str]:
    """Arguments that print all about one job, ended ones too as long as SLURM remembers them."""
    return ["scontrol", "--oneliner", "show", "job", job]


def parse_show_job(output: str) -> Job:
    """Read what `show_job_argv` makes scontrol print."""
    found = dict(re.findall(r"(?:^| )(JobId|JobName|JobState|Reason|ExitCode)=(\S*)", output))
    state = found["JobState"]
    code = int(found["ExitCode"].split(":")[0]) if state in ENDED else None
    return Job(found["JobId"], state, found["JobName"], found.get("Reason", ""), code)


def parse_sbatch(output: str) -> str:
    """The job's number from what ``sbatch --parsable`` prints: ``123`` or ``123;cluster``.

    Raises
    ------
    ClusterError
        There is no number in it.
    """
    match = re.search(r"^(\d+)(;|$)", output.strip(), re.MULTILINE)
    if match is None:
        raise ClusterError(f"sbatch --parsable printed {output!r}, expected a job's number")
    return match[1]


def clean_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """`environment` without what SLURM told the job that submits: it would contradict what the new job is told."""
    return {
        name: value for name, value in environment.items() if not name.startswith("SLURM_") or name in _KEPT_VARIABLES
    }


@dataclass(frozen=True)
class Ran:
    """What a command printed, and its exit code."""

    code: int
    output: str
    errors: str


def run_command(argv: Sequence[str]) -> Ran:
    """Run one of SLURM's commands; one that hangs counts as a controller that does not answer.

    Raises
    ------
    ClusterError
        The command does not exist.
    """
    environment = clean_environment(os.environ)
    try:
        ran = subprocess.run(
            argv,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=COMMAND_TIMEOUT,
        )
    except FileNotFoundError:
        raise ClusterError(
            f"{argv[0]} not found: this is no host of a SLURM cluster, or its PATH lacks SLURM"
        ) from None
    except subprocess.TimeoutExpired:
        return Ran(1, "", f"{argv[0]} timed out")
    return Ran(ran.returncode, ran.stdout, ran.stderr)


class Slurm:
    """Asks SLURM, and waits while its controller does not answer.

    Parameters
    ----------
    run
        Runs an argument list.
    should_stop
        Asked while waiting.
    patience
        Seconds to wait for an answer before giving up.
    """

    def __init__(
        self,
        run: Callable[[Sequence[str]], Ran] = run_command,
        should_stop: ShouldStop = never,
        patience: float = PATIENCE,
    ) -> None:
        self._run = run
        self._should_stop = should_stop
        self._patience = patience

    def submit(self, argv: Sequence[str], name: JobName) -> str:
        """Submit a job that carries `name`, exactly once, and return its number.

        An sbatch whose answer was lost may have submitted all the same, so the name is looked for before it is
        tried again: names must not be used twice.

        Raises
        ------
        ClusterError
            SLURM refuses the job, or does not answer.
        """
        lost = False

        def once() -> Ran:
            nonlocal lost
            if lost and (there := self._named(str(name))) is not None:
                return there
            ran = self._run(argv)
            lost = ran.code != 0
            return ran

        return parse_sbatch(self._answered(once, argv).output)

    def job(self, identifier: str) -> Job | None:
        """All that is known of a job, None when SLURM has forgotten it."""
        argv = show_job_argv(identifier)
        ran = self._answered(lambda: self._run(argv), argv, accept=_UNKNOWN_JOB)
        return parse_show_job(ran.output) if ran.code == 0 else None

    def own_jobs(self) -> list[Job]:
        """The user's waiting and running jobs."""
        argv = squeue_argv()
        return parse_squeue(self._answered(lambda: self._run(argv), argv).output)

    def jobs_of(self, run: str) -> dict[JobName, Job]:
        """The waiting and running jobs of one run (see `run_tag`)."""
        named = ((parse_job_name(job.name), job) for job in self.own_jobs())
        return {name: job for name, job in named if name is not None and name.run == run}

    def all_of(self, run: str) -> list[Job]:
        """The waiting and running jobs of one run, each element of an array that runs for itself."""
        return [job for job in self.own_jobs() if (name := parse_job_name(job.name)) is not None and name.run == run]

    def cancel(self, identifiers: Sequence[str], gently: bool = False) -> None:
        """Cancel jobs; those that ended meanwhile do not matter.

        Parameters
        ----------
        identifiers
            The jobs.
        gently
            Tell the batch scripts too, so that their programs stop in good order.
        """
        if identifiers:
            argv = ["scancel", *(["--full"] if gently else []), *identifiers]
            self._answered(lambda: self._run(argv), argv, accept=_UNKNOWN_JOB)

    def end(self, identifiers: Collection[str], gently: bool = False, longest: float = 90.0) -> None:
        """Cancel jobs and wait until their processes are gone; a node that does not answer is not waited for for ever.

        Parameters
        ----------
        identifiers, gently
            As for `cancel`.
        longest
            Seconds to wait.
        """
        self.cancel(sorted(identifiers), gently)
        deadline = time.monotonic() + longest
        while time.monotonic() < deadline and any(job.id in identifiers for job in self.own_jobs()):
            time.sleep(0.5)

    def _named(self, name: str) -> Ran | None:
        listed = self._run([*squeue_argv(), "--states=all"])
        if listed.code:
            return listed
        found = [job.id for job in parse_squeue(listed.output) if job.name == name]
        return Ran(0, found[0].partition("_")[0], "") if found else None

    def _answered(self, run: Callable[[], Ran], argv: Sequence[str], accept: re.Pattern[str] | None = None) -> Ran:
        """Run until the controller answers; an error that `accept` matches is an answer too."""
        deadline = time.monotonic() + self._patience
        pause = 1.0
        more_tries = list(MORE_TRIES)
        while True:
            ran = run()
            if ran.code == 0 or (accept is not None and accept.search(ran.errors)):
                return ran
            if not _NO_ANSWER.search(ran.errors):
                if _REFUSAL.search(ran.errors) or not more_tries or time.monotonic() >= deadline:
                    raise ClusterError(f"{' '.join(argv)}\nfailed: {ran.errors.strip() or f'exit code {ran.code}'}")
                self._wait(more_tries.pop(0), argv)
                continue
            if time.monotonic() > deadline:
                raise ClusterError(f"SLURM has not answered for {self._patience:g} s: {ran.errors.strip()}")
            self._wait(pause, argv)
            pause = min(2 * pause, 30.0)

    def _wait(self, seconds: float, argv: Sequence[str]) -> None:
        """Sleep in short pieces, so that a stop need not wait."""
        while seconds > 0:
            if self._should_stop():
                raise StopRequested(f"stopped while waiting for SLURM to answer {argv[0]}")
            time.sleep(min(seconds, 1.0))
            seconds -= 1.0
