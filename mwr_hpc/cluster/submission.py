"""The sbatch command lines of the scripts in jobs/: pure functions from resources and arguments to argument lists."""

import sys
from collections.abc import Sequence
from pathlib import Path

from mwr_hpc.cluster.job_name import JobName
from mwr_hpc.config.site import JobResources, SiteProfile, TrainingResources
from mwr_hpc.installation import shipped_file

WARNING = 180
"""Seconds before the time limit at which SLURM sends USR1 to a job script."""

SETUP_VARIABLE = "MWR_SETUP"
PYTHON_VARIABLE = "MWR_PYTHON"

SWEEP_SCRIPTS = {"predict": "predict_sweep", "boxnet pick": "boxnet_pick"}
"""Scripts of the commands whose work the elements of an array can share."""

ONE_NODE = {
    "boxnet simulate": "preparation",
    "boxnet examples prepare": "preparation",
    "boxnet evaluate": "preparation",
    "boxnet train-generic": "training",
}
"""Commands that work within one node, and the section of the site file that tells what their job asks for."""


def job_script(name: str) -> Path:
    """Path of one of the job scripts, as installed with the program or in its source folder.

    Raises
    ------
    ConfigError
        The installation lacks it.
    """
    return shipped_file(f"jobs/{name}.sbatch")


def resource_words(resources: JobResources) -> list[str]:
    """What a job asks for, as options of sbatch."""
    words = [f"--time={resources.walltime}", f"--cpus-per-task={resources.cores}", f"--mem={resources.memory}"]
    named = {"partition": resources.partition, "account": resources.account, "qos": resources.qos}
    words += [f"--{name}={value}" for name, value in named.items() if value]
    words += [f"--constraint={'&'.join(resources.constraint)}"] if resources.constraint else []
    words += [f"--gres=gpu:{resources.gpus}"] if resources.gpu_count else []
    return words


def log_pattern(path: Path) -> str:
    """`path` as sbatch takes it literally: a percent sign would begin one of its patterns."""
    return str(path).replace("%", "%%")


def sbatch_argv(
    script: Path,
    arguments: Sequence[str],
    resources: JobResources,
    name: JobName,
    log: Path,
    *,
    array: int | None = None,
) -> list[str]:
    """Command line that submits one of the job scripts.

    Parameters
    ----------
    script
        See `job_script`.
    arguments
        Of the script, given as they are: no shell reads them.
    resources
        What the job asks for.
    name
        Whose job it is.
    log
        File for the output, which requeued jobs append to; of an array, one for each element beside it.
    array
        Number of elements; None: no array.
    """
    pattern = log_pattern(log.with_suffix("")) + (f".%a{log.suffix}" if array else log.suffix)
    words = ["sbatch", "--parsable", "--export=ALL", "--requeue", f"--job-name={name}", f"--signal=B:USR1@{WARNING}"]
    words += [f"--output={pattern}", "--open-mode=append", *resource_words(resources)]
    if isinstance(resources, TrainingResources):
        words = [word for word in words if not word.startswith("--cpus-per-task=")]
        words += [f"--nodes={resources.nodes}", f"--ntasks-per-node={resources.ranks}"]
        words += [f"--cpus-per-task={resources.cores // resources.ranks}"]
    else:
        words += ["--nodes=1", "--ntasks=1"]
    words += [f"--array=0-{array - 1}"] if array else []
    return [*words, str(script), *arguments]


def environment_words(site: SiteProfile) -> list[str]:
    """Words before sbatch that tell job scripts which set-up file to source and which Python to run."""
    setup = [f"{SETUP_VARIABLE}={site.setup}"] if site.setup else []
    return ["env", f"{PYTHON_VARIABLE}={sys.executable}", *setup]


def submit_argv(site: SiteProfile, command: str, arguments: Sequence[str], name: JobName, log: Path) -> list[str]:
    """Command line for ``mwr-hpc submit COMMAND``: the coordinator's job, which runs the command on SLURM."""
    argv = sbatch_argv(job_script("coordinator"), [*command.split(), *arguments], site.coordinator, name, log)
    return [*environment_words(site), *argv]


def one_node_argv(site: SiteProfile, command: str, arguments: Sequence[str], name: JobName, log: Path) -> list[str]:
    """Command line for ``mwr-hpc submit COMMAND`` of a command that works within one node: its job runs just that."""
    resources: JobResources = getattr(site, ONE_NODE[command])
    argv = sbatch_argv(job_script("one_node"), [*command.split(), *arguments], resources.of_one_node, name, log)
    return [*environment_words(site), *argv]


def training_argv(site: SiteProfile, rank_job: Path, name: JobName, log: Path) -> list[str]:
    """Command line for the training job, whose ranks do what the file `rank_job` says."""
    return [*environment_words(site), *sbatch_argv(job_script("train"), [str(rank_job)], site.training, name, log)]


def sweep_argv(
    site: SiteProfile, command: str, arguments: Sequence[str], name: JobName, log: Path, elements: int
) -> list[str]:
    """Command line for a sweep as an array, each element of which takes its share of the work."""
    argv = sbatch_argv(job_script(SWEEP_SCRIPTS[command]), arguments, site.prediction, name, log, array=elements)
    return [*environment_words(site), *argv]
