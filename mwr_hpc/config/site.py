"""The site profile: what a job of each kind asks SLURM for, from the `slurm` section of the site file.

Some of these values end up in shell scripts that dask-jobqueue writes, so every text has to match a pattern of its own:
no value can hold a line break, a NUL or anything that a shell would act on.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from mwr_hpc.config.loading import SLURM_SECTION, nearest, read_yaml
from mwr_hpc.errors import ConfigError

SITE_VARIABLE = "MWR_HPC_SITE"

SHORTEST_NUMBER = 600
"""A walltime that is a smaller number was meant as minutes or hours; an unquoted 1:00:00 is 3600 seconds to YAML."""


def _expect(pattern: str, expected: str) -> BeforeValidator:
    """Check a text against `pattern`; a number is taken as its digits."""
    compiled = re.compile(pattern, re.ASCII)

    def check(value: object) -> object:
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        if not isinstance(text, str) or compiled.fullmatch(text) is None:
            raise ValueError(f"expected {expected}")
        return text

    return BeforeValidator(check)


def _clock_time(value: object) -> object:
    """YAML reads an unquoted 12:00:00 as its number of seconds; give it back its form."""
    if isinstance(value, int) and not isinstance(value, bool):
        if value < SHORTEST_NUMBER:
            raise ValueError("expected hours, minutes and seconds, for example 12:00:00")
        return f"{value // 3600}:{value % 3600 // 60:02d}:{value % 60:02d}"
    return value


def _one_or_more(value: object) -> object:
    return [value] if isinstance(value, str) else value


Word = Annotated[str, _expect(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", "a name of letters, digits, '_', '.' and '-'")]
Words = Annotated[
    str,
    _expect(
        r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}(,[A-Za-z0-9][A-Za-z0-9_.-]{0,63}){0,15}",
        "a name, or several with commas between",
    ),
]
Features = Annotated[tuple[Word, ...], BeforeValidator(_one_or_more), Field(max_length=8)]
Gpus = Annotated[
    str,
    _expect(r"([A-Za-z][A-Za-z0-9_.-]{0,31}:)?\d{1,2}", "a number, or a type and a number, for example 4 or a100:4"),
]
Memory = Annotated[str, _expect(r"[1-9]\d{0,6}[MGT]", "a number with M, G or T, for example 64G")]
Walltime = Annotated[
    str,
    _expect(r"(\d{1,3}-)?\d{1,3}:[0-5]\d:[0-5]\d", "[days-]hours:minutes:seconds, for example 12:00:00 or 2-00:00:00"),
    BeforeValidator(_clock_time),
]
SetUpFile = Annotated[
    str,
    _expect(
        r"(/[A-Za-z0-9_.+-]{1,255}){1,32}",
        "an absolute path of letters, digits and '_.+-', for example /apps/mwr/setup.sh",
    ),
]
Scratch = Annotated[
    str,
    _expect(
        r"(\$[A-Z][A-Z0-9_]{0,31}|/[A-Za-z0-9_.+-]{1,255})(/[A-Za-z0-9_.+-]{1,255}|/\$[A-Z][A-Z0-9_]{0,31}){0,32}",
        "an absolute path, which may hold variables of the node, for example /scratch/$USER or $TMPDIR",
    ),
]
Interface = Annotated[str, _expect(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,14}", "a network interface, for example ib0")]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


class JobResources(_Section):
    """What one job asks for, on each of its nodes.

    Attributes
    ----------
    partition, account, qos
        None: the site's default.
    constraint
        Features that a node must have, all of them.
    gpus
        Per node, such as "4" or "a100:4"; "0" for none.
    cores
        Per node.
    memory
        Per node, with M, G or T.
    walltime
        ``[days-]hours:minutes:seconds``.
    """

    partition: Words | None = None
    account: Word | None = None
    qos: Word | None = None
    constraint: Features = ()
    gpus: Gpus = "0"
    cores: int = Field(default=1, ge=1, le=1024)
    memory: Memory = "4G"
    walltime: Walltime = "12:00:00"

    @property
    def gpu_count(self) -> int:
        """GPUs per node."""
        return int(self.gpus.rpartition(":")[2])

    @property
    def seconds(self) -> int:
        """The walltime."""
        days, _, clock = self.walltime.rpartition("-")
        hours, minutes, seconds = map(int, clock.split(":"))
        return ((int(days or 0) * 24 + hours) * 60 + minutes) * 60 + seconds

    @property
    def of_one_node(self) -> "JobResources":
        """The same for a job of one process on one node, which may use all of its cores."""
        return JobResources.model_validate(self.model_dump(include=set(JobResources.model_fields)))


class WorkerResources(JobResources):
    """The jobs of a pool: at most `workers` of them, each of one node."""

    workers: int = Field(default=4, ge=1, le=10000)


class TrainingResources(JobResources):
    """The training job: `nodes` nodes with `ranks_per_node` ranks each (None: one per GPU, else one)."""

    nodes: int = Field(default=1, ge=1, le=10000)
    ranks_per_node: int | None = Field(default=None, ge=1, le=64)

    @property
    def ranks(self) -> int:
        """Ranks on each node."""
        return self.ranks_per_node or max(1, self.gpu_count)

    @model_validator(mode="after")
    def _cores_for_every_rank(self) -> "TrainingResources":
        if self.cores < self.ranks:
            raise ValueError(f"{self.cores} cores for {self.ranks} ranks on each node; expected at least one for each")
        return self


class SiteProfile(_Section):
    """The `slurm` section of a site file.

    Attributes
    ----------
    setup
        Shell file that every job sources first (modules, virtual environment).
    scratch
        Node-local folder for temporary files.
    interface
        Network interface that all nodes have and that their traffic uses; None: SLURM's and Dask's choice.
    coordinator, preparation, training, prediction
        The jobs.
    """

    setup: SetUpFile | None = None
    scratch: Scratch | None = None
    interface: Interface | None = None
    coordinator: JobResources = JobResources(walltime="2-00:00:00")
    preparation: WorkerResources = WorkerResources(cores=4, memory="16G")
    training: TrainingResources = TrainingResources(cores=8, memory="64G")
    prediction: WorkerResources = WorkerResources(cores=8, memory="32G")

    @model_validator(mode="before")
    @classmethod
    def _shared_by_all_jobs(cls, content: Any) -> Any:
        """Let partition, account, qos and constraint stand once for all jobs; each may still say otherwise."""
        if not isinstance(content, dict):
            return content
        shared = {name: content[name] for name in ("partition", "account", "qos", "constraint") if name in content}
        own = {name: value for name, value in content.items() if name not in shared}
        for job in ("coordinator", "preparation", "training", "prediction"):
            given = own.get(job) or {}
            if isinstance(given, dict):
                default = cls.model_fields[job].default.model_dump()
                own[job] = default | shared | given
        return own


def site_path(site: Path | None, environment: Mapping[str, str]) -> Path | None:
    """The site file that `--site` or else MWR_HPC_SITE names."""
    named = environment.get(SITE_VARIABLE)
    return site or (Path(named) if named else None)


def load_site(site: Path | None, environment: Mapping[str, str]) -> SiteProfile:
    """Read the site profile.

    Parameters
    ----------
    site
        What `--site` says.
    environment
        Environment variables.

    Raises
    ------
    ConfigError
        There is no site file, or a value in it cannot be used.
    """
    path = site_path(site, environment)
    if path is None:
        raise ConfigError(
            "jobs for SLURM need a site file, which says what they ask for: `mwr-hpc config site > site.yaml` "
            f"writes an example; adapt it, and name it with --site FILE or the variable {SITE_VARIABLE}"
        )
    content = read_yaml(path, "site file")
    if not isinstance(content.get(SLURM_SECTION), dict):
        raise ConfigError(f"site file {path} has no section '{SLURM_SECTION}'; `mwr-hpc config site` prints an example")
    try:
        profile = SiteProfile.model_validate(content[SLURM_SECTION])
    except ValidationError as error:
        lines = dict.fromkeys(_line(path, details) for details in error.errors())
        raise ConfigError("\n".join(lines)) from None
    if profile.setup is not None and not Path(profile.setup).is_file():
        raise ConfigError(f"site file {path}, slurm.setup: {profile.setup} is no file; expected a shell file to source")
    return profile


def _line(path: Path, details: ErrorDetails) -> str:
    """Say in one line what is wrong with one value."""
    where = ".".join(map(str, (SLURM_SECTION, *details["loc"])))
    if details["type"] == "extra_forbidden":
        known = [*SiteProfile.model_fields, *TrainingResources.model_fields, "workers"]
        return f"site file {path}: unknown entry {where}; did you mean '{nearest(str(details['loc'][-1]), known)}'?"
    text = details["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    found = details["input"] if not isinstance(details["input"], dict) else ""
    return (
        f"site file {path}, {where}: found {found!r}: {text}" if found != "" else f"site file {path}, {where}: {text}"
    )


def ranks_of_site(asked: int, there: int) -> int:
    """Return how many ranks there are.

    Raises
    ------
    ConfigError
        The command asks for another number, and for more than the one that stands for "any".
    """
    if asked not in (1, there):
        raise ConfigError(
            f"--ranks {asked}: the site file's section slurm.training and the nodes make {there} ranks; leave --ranks "
            "out, or change the site file"
        )
    return there
