"""`mwr-hpc train`: trains a network on tomograms, iteration after iteration."""

from typing import TYPE_CHECKING

import typer

from mwr_hpc.cli.options import add_command
from mwr_hpc.cli.running import backend_for, report, settings_from, watched
from mwr_hpc.cli.words import Given
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.events import Emit, Event, ShouldStop, StageFinished
from mwr_hpc.run_directory import RunDirectory

if TYPE_CHECKING:
    from mwr_hpc.pipeline.stages import Outcome

HELP = """Train a network to fill in the missing wedge of your tomograms.

Sub-tomograms are cut from the tomograms, turned, and given a second missing wedge; the network learns to undo it and
then fills in the first one, which is what the next iteration learns from. Every iteration leaves model_iterNN.h5, and
RUN/curves.png shows the losses so far.

\b
  mwr-hpc train --input_dir tomograms --tilt_range -60 60 --iterations 30
  mwr-hpc train --tomograms list.star --cube_size 48 --run_dir run1

After an interruption of any kind give the same command again: it goes on where it stopped. Exit codes: 0 all done,
1 some tomograms failed (listed), 2 bad options or input, 85 stopped in good order.
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
    typer.echo(f"Loss curves: {paths.curves_figure}")
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
