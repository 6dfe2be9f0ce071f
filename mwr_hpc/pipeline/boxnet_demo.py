"""The demonstration of BoxNet: a particle that the generic model has never seen, taught with five micrographs.

It runs through the same functions as the commands do, so it goes on where it stopped, and is judged by micrographs that
no training has seen.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mwr_hpc.boxnet.evaluate import Evaluation
from mwr_hpc.config.boxnet_data import PrepareExamplesSettings
from mwr_hpc.config.boxnet_generic import BoxNetDemoSettings
from mwr_hpc.config.boxnet_picking import EvaluatePicksSettings, PickSettings
from mwr_hpc.config.boxnet_training import RetrainSettings
from mwr_hpc.errors import StageError
from mwr_hpc.events import Emit, ShouldStop
from mwr_hpc.io.micrograph import read_micrograph
from mwr_hpc.io.picks import read_picks
from mwr_hpc.numerics.detection import Scores
from mwr_hpc.pipeline.boxnet_examples import prepare_examples
from mwr_hpc.pipeline.boxnet_judging import evaluate_picking
from mwr_hpc.pipeline.boxnet_picking import pick
from mwr_hpc.pipeline.boxnet_training import train_picker
from mwr_hpc.pipeline.pick_folder import PickFolder
from mwr_hpc.pipeline.stages import Outcome
from mwr_hpc.simulation.micrograph import MicrographSpecification, conditions_of
from mwr_hpc.simulation.micrograph_series import series_paths, simulate_micrographs

GENERIC = "BoxNetGeneric"

SPECIFICATION = MicrographSpecification(
    size=(1024, 1024), pixel_size=4.0, species=1, crowding=(0.2, 0.2), snr=(0.7, 0.7), smoothing=(0.0, 0.0), seed=12
)

TAUGHT, JUDGED = 5, 3
"""Micrographs to learn from, and others to judge by."""

EPOCHS = 8

GAIN = 0.2
"""By how much the average precision must grow."""

F1 = 0.75
"""That the re-trained model must reach."""

Draw = Callable[[np.ndarray, np.ndarray, dict[str, np.ndarray], Path], None]
"""Draws a picture of a micrograph, its true positions and the picks of each model into a file."""


@dataclass(frozen=True)
class BoxNetDemoResult:
    """What the demonstration showed.

    Attributes
    ----------
    before, after
        Figures of the generic model and of the re-trained one, on micrographs that neither has seen.
    picture
        Both models' picks beside the truth.
    """

    before: Evaluation
    after: Evaluation
    picture: Path

    @property
    def passed(self) -> bool:
        """Whether both thresholds are met."""
        before, after = self.before.picks, self.after.picks
        return after.average_precision - before.average_precision >= GAIN and after.f1 >= F1

    @property
    def exit_code(self) -> int:
        """0 when it passed, else 1."""
        return 0 if self.passed else 1

    @property
    def summary(self) -> list[str]:
        """Lines for people: the figures, the thresholds and the verdict."""
        blobs = self.after.baseline
        columns: Sequence[Scores | None] = (blobs, self.before.picks, self.after.picks)

        def row(label: str, name: str, wanted: str) -> str:
            values = "".join(f"{getattr(one, name):>10.3f}" if one is not None else f"{'':>10}" for one in columns)
            return f"{label:<20}{values}  {wanted}".rstrip()

        return [
            f"{'':<20}{'blobs':>10}{'generic':>10}{'taught':>10}  wanted",
            row("average precision", "average_precision", f"up by {GAIN:g} or more"),
            row("F1", "f1", f"{F1:g} or more"),
            row("precision", "precision", ""),
            row("recall", "recall", ""),
            f"Picture of the picks: {self.picture}",
            "The demonstration met its thresholds." if self.passed else "The demonstration MISSED its thresholds.",
        ]


def run_boxnet_demo(settings: BoxNetDemoSettings, emit: Emit, should_stop: ShouldStop, draw: Draw) -> BoxNetDemoResult:
    """Simulate micrographs of a new particle, teach the generic model with some, and judge both by the others.

    Parameters
    ----------
    settings
        Where to do so. What an interrupted demonstration left there is used.
    emit
        Called with every event.
    should_stop
        Polled; once it is true the demonstration stops in good order.
    draw
        Draws the picture; given by the caller, because pictures belong to a higher layer.

    Returns
    -------
    BoxNetDemoResult
        Figures and verdict.

    Raises
    ------
    ConfigError
        The folder holds something else.
    StageError
        A micrograph was left out.
    StopRequested
        After a stop in good order.
    """
    out = settings.out
    micrographs = out / "micrographs"
    simulate_micrographs(SPECIFICATION, TAUGHT + JUDGED, micrographs, emit, should_stop)
    diameter = float(round(conditions_of(SPECIFICATION, 0).species.diameter))
    cleaned, others = out / "cleaned_picks", out / "truth_of_others"
    for folder, indices in ((cleaned, range(TAUGHT)), (others, range(TAUGHT, TAUGHT + JUDGED))):
        folder.mkdir(exist_ok=True)
        for index in indices:
            shutil.copy(series_paths(micrographs, index).truth, folder)
    examples = out / "examples.zarr"
    preparing = PrepareExamplesSettings(micrographs=micrographs, positives=cleaned, diameter=diameter, out=examples)
    _all_well(prepare_examples(preparing, emit, should_stop))
    training = RetrainSettings(
        parent=GENERIC, name="Taught", examples=examples, run_dir=out / "training", epochs=EPOCHS
    )
    taught = train_picker(training, emit, should_stop)

    def judged(model: str, suffix: str) -> Evaluation:
        folder = out / "picked"
        picking = PickSettings(model=model, micrographs=micrographs, out=folder, suffix=suffix, diameter=diameter)
        _all_well(pick(picking, emit, should_stop))
        judging = EvaluatePicksSettings(picked=folder, suffix=suffix, truth=others, baseline=True)
        return evaluate_picking(judging, emit).evaluation

    before, after = judged(GENERIC, GENERIC), judged(str(taught), "Taught")
    picture = out / "picks.png"
    shown = series_paths(micrographs, TAUGHT)
    name = shown.micrograph.stem
    picks = {
        suffix: read_picks(PickFolder(out / "picked", suffix).particles(name)).positions
        for suffix in (GENERIC, "Taught")
    }
    draw(read_micrograph(shown.micrograph, None).image, read_picks(shown.truth).positions, picks, picture)
    return BoxNetDemoResult(before, after, picture)


def _all_well(outcome: Outcome) -> None:
    for identifier, reason in outcome.failed.items():
        raise StageError(f"{identifier}: {reason}")
