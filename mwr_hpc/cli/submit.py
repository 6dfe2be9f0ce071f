"""`mwr-hpc submit COMMAND`: submits a run to SLURM."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mwr_hpc.cli.options import WordsCommand, reflowed
from mwr_hpc.cli.output import say
from mwr_hpc.cli.running import called_as_mwr, settings_from
from mwr_hpc.cli.words import Given, WordReader
from mwr_hpc.config.boxnet_data import PrepareExamplesSettings, SimulateMicrographsSettings
from mwr_hpc.config.boxnet_picking import EvaluatePicksSettings, PickSettings
from mwr_hpc.config.boxnet_training import RetrainSettings
from mwr_hpc.config.schema import PredictSettings, TrainGenericSettings, TrainSettings
from mwr_hpc.errors import ConfigError

if TYPE_CHECKING:
    from mwr_hpc.pipeline.jobs import Submittable

HELP = """Submit a command to SLURM, given as you would give it without, and come back at once.

`train`, `predict`, `boxnet retrain` and `boxnet pick` work on many nodes: a small job, the coordinator, runs the
command and submits jobs for all work. `boxnet simulate`, `boxnet examples prepare`, `boxnet evaluate` and
`boxnet train-generic` work within one node: one job runs the command. What jobs ask for stands in the site file (--site
or MWR_HPC_SITE; `mwr-hpc config site` prints an example); that one job asks for what `preparation` says there, and for
`train-generic` for one node of `training`.

The job's number is printed, and how to watch it. At its time limit it stops in good order and goes on after a requeue;
only `boxnet evaluate` keeps nothing to go on from. A folder that has a job already, queued or running, is refused;
`mwr-hpc cancel FOLDER` ends it.

With --dry-run it prints the command lines and scripts and submits nothing. With --array N `predict` or `boxnet pick` is
an array of N jobs that share the work, without a coordinator.

\b
  mwr-hpc submit train --input_dir tomograms --run_dir run1 --site site.yaml
  mwr-hpc submit predict model_iter30.h5 --tomograms list.star --out corrected --dry-run
  mwr-hpc submit boxnet simulate micrographs --number 200 --site site.yaml
  mwr-hpc submit boxnet pick --model MyNet --micrographs micrographs --diameter 190 --site site.yaml
  mwr-hpc submit boxnet evaluate micrographs --truth micrographs/truth --site site.yaml
"""

COMMANDS: "dict[str, type[Submittable]]" = {
    settings.command: settings
    for settings in (
        *(TrainSettings, PredictSettings, RetrainSettings, PickSettings),
        *(SimulateMicrographsSettings, PrepareExamplesSettings, EvaluatePicksSettings, TrainGenericSettings),
    )
}
SHARED = ("predict", "boxnet pick")
"""Commands whose work an array can share."""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    text = "COMMAND [OPTIONS OF IT] [--dry-run] [--array N]"
    app.command("submit", cls=WordsCommand, help=reflowed(HELP), options_metavar=text)(submit)


def submit(context: typer.Context) -> None:
    """Submit, and say how to watch."""
    command, words = _command_of(context.obj)
    dry_run, array, words = _own_options(words)
    if array is not None and command not in SHARED:
        raise ConfigError(f"--array: only {' and '.join(SHARED)} can be shared by the elements of an array")
    model = COMMANDS[command]
    given = WordReader(model, words, has_json=model is EvaluatePicksSettings).read()
    place = {"slurm": not array} if "slurm" in model.model_fields else {}
    settings = settings_from(model, Given({**given.values, **place}, given.config, given.site))
    from mwr_hpc.cluster.slurm import Slurm
    from mwr_hpc.config.site import load_site
    from mwr_hpc.pipeline.jobs import Submission, has_status
    from mwr_hpc.pipeline.jobs import submit as submit_to_slurm

    if model is TrainSettings and called_as_mwr() and "preset" not in given.values:
        words = [*words, "--preset", str(settings.model_dump()["preset"])]  # the job has another program's name
    submission = Submission(load_site(given.site, os.environ), settings, words, array)
    if dry_run:
        say(*submission.described().split("\n"))
        return
    job = submit_to_slurm(submission, Slurm())
    log = submission.log.with_suffix(".*.out") if array else submission.log
    say(f"Submitted job {job}", "Watch it:")
    if has_status(submission.name.unit):
        say(f"  mwr-hpc status {_shown(submission.folder)} --watch")
    say(f"  tail -F {log}")


def _command_of(words: list[str]) -> tuple[str, list[str]]:
    """The command that the words begin with, and the words after it."""
    for command in COMMANDS:
        count = len(command.split())
        if [word.replace("_", "-") for word in words[:count]] == command.split():
            return command, words[count:]
    named = " ".join(words[: 2 if words[0] == "boxnet" else 1])
    raise ConfigError(f"submit {named}: only {', '.join(COMMANDS)} can be submitted")


def _own_options(words: list[str]) -> tuple[bool, int | None, list[str]]:
    """Whether it is a dry run, the elements of an array, and the words that are left."""
    left, array = [word for word in words if word not in ("--dry-run", "--dry_run", "--slurm")], None
    if "--array" in left:
        position = left.index("--array")
        count = left[position + 1 : position + 2]
        if not (count and count[0].isdecimal() and int(count[0]) > 0):
            raise ConfigError(f"--array {' '.join(count)}: expected the number of elements, for example --array 8")
        array = int(count[0])
        del left[position : position + 2]
    return bool({"--dry-run", "--dry_run"} & set(words)), array, left


def _shown(folder: Path) -> Path:
    """A path as one would type it here."""
    here = Path.cwd()
    return folder.relative_to(here) if folder.is_relative_to(here) and folder != here else folder
