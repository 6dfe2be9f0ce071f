"""`mwr-hpc submit COMMAND`: submits a run to SLURM."""

import os
from pathlib import Path

import typer

from mwr_hpc.cli.options import WordsCommand, reflowed
from mwr_hpc.cli.running import settings_from
from mwr_hpc.cli.words import Given, WordReader
from mwr_hpc.config.boxnet_picking import PickSettings
from mwr_hpc.config.boxnet_training import RetrainSettings
from mwr_hpc.config.schema import PredictSettings, TrainSettings
from mwr_hpc.errors import ConfigError

HELP = """Submit `mwr-hpc train`, `predict`, `boxnet retrain` or `boxnet pick` to SLURM and come back at once.

A small job, the coordinator, runs the command and submits jobs for all work. What jobs ask for stands in the site file
(--site or MWR_HPC_SITE; see configs/sites/example.yaml). A run that is queued or running is refused.

With --dry-run it prints the command lines and scripts and submits nothing. With --array N `predict` or `boxnet pick` is
an array of N jobs that share the work, without a coordinator.

\b
  mwr-hpc submit train --input_dir tomograms --run_dir run1 --site site.yaml
  mwr-hpc submit predict model_iter30.h5 --tomograms list.star --out corrected --dry-run
  mwr-hpc submit boxnet pick --model MyNet --micrographs micrographs --diameter 190 --site site.yaml
"""

COMMANDS: dict[str, type[TrainSettings | PredictSettings | RetrainSettings | PickSettings]] = {
    settings.command: settings for settings in (TrainSettings, PredictSettings, RetrainSettings, PickSettings)
}
SHARED = ("predict", "boxnet pick")
"""Commands whose work an array can share."""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    text = f"{'|'.join(COMMANDS)} [OPTIONS OF IT] [--dry-run] [--array N]"
    app.command("submit", cls=WordsCommand, help=reflowed(HELP), options_metavar=text)(submit)


def submit(context: typer.Context) -> None:
    """Submit, and say how to watch."""
    given_words: list[str] = context.obj
    count = 2 if given_words[0] == "boxnet" else 1
    command, words = " ".join(given_words[:count]), given_words[count:]
    if command not in COMMANDS:
        raise ConfigError(f"submit {command}: only {', '.join(COMMANDS)} can be submitted")
    dry_run, array, words = _own_options(words)
    if array is not None and command not in SHARED:
        raise ConfigError(f"--array: only {' and '.join(SHARED)} can be shared by the elements of an array")
    given = WordReader(COMMANDS[command], words, has_json=False).read()
    settings = settings_from(COMMANDS[command], Given({**given.values, "slurm": not array}, given.config, given.site))
    from mwr_hpc.cluster.slurm import Slurm
    from mwr_hpc.config.site import load_site
    from mwr_hpc.pipeline.jobs import Submission
    from mwr_hpc.pipeline.jobs import submit as submit_to_slurm

    submission = Submission(load_site(given.site, os.environ), settings, words, array)
    if dry_run:
        typer.echo(submission.described())
        return
    job = submit_to_slurm(submission, Slurm())
    log = submission.log.with_suffix(".*.out") if array else submission.log
    typer.echo(f"Submitted job {job}\nWatch it:\n  mwr-hpc status {_shown(submission.folder)} --watch\n  tail -F {log}")


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
