"""`mwr-hpc train`: trains a network on tomograms, iteration after iteration."""

import shlex
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.output import say
from mwr_hpc.cli.running import backend_for, called_as_mwr, report, settings_from, watched
from mwr_hpc.cli.words import Given, with_value
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.events import Emit, Event, ShouldStop, StageFinished
from mwr_hpc.run_directory import RunDirectory

if TYPE_CHECKING:
    from mwr_hpc.pipeline.stages import Outcome

HELP = """Train a network to fill in the missing wedge of your tomograms.

Sub-tomograms are cut from the tomograms, turned, and given a second missing wedge; the network learns to undo it and
then fills in the first one, which is what the next iteration learns from. Every iteration leaves model_iterNN.h5, and
RUN/curves.png shows the losses so far.

Without any option that says how large the training is, the largest of five named sizes that fits into --hours on this
machine is taken. A run keeps its size. Options such as --iterations or --cube_size, --config and --preset leave the
size to you.

\b
  mwr-hpc train --input_dir tomograms --tilt_range -60 60
  mwr-hpc train --input_dir tomograms --tilt_range -60 60 --hours 8 --run_dir overnight
  mwr-hpc train --input_dir tomograms --tilt_range -60 60 --preset mwr --iterations 50
  mwr-hpc train --tomograms list.star --cube_size 48 --run_dir run1

After an interruption of any kind give the same command again: it goes on where it stopped. Exit codes: 0 all done,
1 some tomograms failed or changed after the training (listed), 2 bad options or input, 85 stopped in good order.
"""


def add_to(app: typer.Typer) -> None:
    """Add the command."""
    add_command(app, "train", TrainSettings, run, text=HELP)


def run(given: Given) -> int:
    """Train, and say what to do with the model."""
    settings = settings_from(TrainSettings, given)
    from mwr_hpc.pipeline.coordinator import train

    backend = backend_for(settings, given.site)
    paths = RunDirectory(settings.run_dir, settings.result_dir)

    def train_and_draw(settings: TrainSettings, emit: Emit, should_stop: ShouldStop) -> "Outcome":
        return train(settings, drawing_curves(paths, emit), should_stop, backend)

    outcome = watched(train_and_draw, settings)
    then = ["mwr-hpc", "predict", str(outcome.results[-1]), "--tomograms", str(paths.cohort), "--out", "corrected"]
    report(outcome.failed, outcome.results, then)
    say(f"Loss curves: {paths.curves_figure}")
    if outcome.untrained:
        _report_untrained(outcome.untrained, settings, given.words, paths)
    return outcome.exit_code


def drawing_curves(paths: RunDirectory, emit: Emit) -> Emit:
    """Return an observer that draws the losses so far whenever an iteration's training has ended."""

    def observe(event: Event) -> None:
        emit(event)
        if isinstance(event, StageFinished) and event.stage == "train":
            from mwr_hpc.report.plots import curves_figure, save

            curves = [path for number in paths.existing_iterations() if (path := paths.curves(number)).exists()]
            save(curves_figure(curves), paths.curves_figure)

    return observe


def _report_untrained(
    untrained: Mapping[str, str], settings: TrainSettings, words: Sequence[str], run: RunDirectory
) -> None:
    """Say what the newest model was not trained on, and the commands that lead to one that was."""
    say(f"Not as in the training of the newest model: {len(untrained)}", err=True)
    for identifier, reason in sorted(untrained.items()):
        say(f"  {identifier}: {reason}", err=True)

    def command(**changed: object) -> str:
        line = list(words)
        for name, value in changed.items():
            line = with_value(line, TrainSettings, name, value)
        return f"  {shlex.join(['mwr-hpc', 'train', *line])}"

    anew: dict[str, object] = {"run_dir": _free(settings.run_dir)}
    if settings.result_dir not in (None, RunDirectory(settings.run_dir).results):
        anew["result_dir"] = _free(settings.result_dir)
    if called_as_mwr():  # the name that implies it is not in the command
        anew["preset"] = settings.preset
    newest = max(run.existing_models())
    say(
        "The model was left as it is. Train on from it, by one iteration or more with the tomograms of now:",
        command(iterations=newest + 1, hours=None),  # the run has had its size since its start
        "or train anew in another folder, which gives the model that the tomograms of now give:",
        command(**anew),
        err=True,
    )
    if newest > 1:
        say("or go back to an earlier model and on from there with --continue_iter.", err=True)


def _free(folder: Path) -> Path:
    return next(path for number in count(2) if not (path := folder.with_name(f"{folder.name}_{number}")).exists())
