"""The demonstration: the main job on a simulated tomogram with a small network, judged against the known truth.

It runs through the same coordinator and commands as any other run, so it goes on where it stopped, and it has the
contrast of real data (protein dark), so that a wrong sign anywhere would show.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mwr_hpc.config.schema import DemoSettings, PredictSettings, TrainSettings
from mwr_hpc.errors import StageError
from mwr_hpc.events import Emit, ShouldStop
from mwr_hpc.io.star import TomogramRow, write_tomogram_list
from mwr_hpc.io.volume import open_volume
from mwr_hpc.numerics.metrics import AgainstTruth, evaluate
from mwr_hpc.pipeline import coordinator, prediction
from mwr_hpc.pipeline.stages import Outcome
from mwr_hpc.simulation.tomogram import TomogramSpecification, simulate_tomogram

SPECIFICATION = TomogramSpecification(shape=(80, 128, 128), snr=20.0, crowding=0.2, contrast="dark")

TRAINING: dict[str, Any] = {
    "iterations": 4,
    "cube_size": 48,
    "crop_size": 72,
    "ncube": 30,
    "rotations": 20,
    "epochs": 1,
    "steps_per_epoch": 35,
    "batch_size": 4,
    "filter_base": 16,
}
"""What differs from the defaults of `train`; configs/demo.yaml holds the same for users' own data."""

CORRELATION_GAIN = 0.1
"""By how much the correlation with the truth must grow in the missing wedge."""

SLOPE = 0.2
"""Amplitude that the missing wedge must reach; 1 is the truth's."""

Draw = Callable[[Path, Path, Path, Path], None]
"""Draws a picture of (before, after, truth) into a file."""


@dataclass(frozen=True)
class DemoResult:
    """What the demonstration showed.

    Attributes
    ----------
    before, after
        Figures of merit of the tomogram and of the corrected one, against the truth.
    picture
        Before, after and truth side by side.
    """

    before: AgainstTruth
    after: AgainstTruth
    picture: Path

    @property
    def gain(self) -> float:
        """By how much the correlation with the truth grew in the missing wedge."""
        return self.after.fcc["missing"] - self.before.fcc["missing"]

    @property
    def passed(self) -> bool:
        """Whether density kept its sign and both thresholds are met."""
        filled = (self.after.slope["missing"] or 0.0) >= SLOPE
        return filled and self.gain >= CORRELATION_GAIN and not self.after.contrast_inverted

    @property
    def exit_code(self) -> int:
        """0 when it passed, else 1."""
        return 0 if self.passed else 1

    @property
    def summary(self) -> list[str]:
        """Lines for people: the figures, the thresholds and the verdict."""
        before, after = self.before, self.after
        rows = [
            ("wedge correlation", before.fcc["missing"], after.fcc["missing"], f"up by {CORRELATION_GAIN:g} or more"),
            ("wedge amplitude (slope)", before.slope["missing"], after.slope["missing"], f"{SLOPE:g} or more"),
            ("measured correlation", before.fcc["measured"], after.fcc["measured"], ""),
            ("correlation of voxels", before.real_cc, after.real_cc, ""),
        ]
        return [
            f"{'against the truth':<26}{'before':>8}{'after':>8}  wanted",
            *(f"{name:<26}{_figure(old):>8}{_figure(new):>8}  {wanted}".rstrip() for name, old, new, wanted in rows),
            *(["CONTRAST INVERTED"] if after.contrast_inverted else []),
            f"Picture of before, after and truth: {self.picture}",
            "The demonstration met its thresholds." if self.passed else "The demonstration MISSED its thresholds.",
        ]


def run_demo(settings: DemoSettings, emit: Emit, should_stop: ShouldStop, draw: Draw) -> DemoResult:
    """Simulate a tomogram, train on it, correct it, and judge the result.

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
    DemoResult
        Figures and verdict.

    Raises
    ------
    ConfigError
        The folder holds something else.
    StageError
        The tomogram was left out of training or prediction.
    StopRequested
        After a stop in good order.
    """
    out = settings.out
    simulated = simulate_tomogram(SPECIFICATION, out / "simulated", emit)
    tomograms = out / "tomograms.star"
    tomogram, mask = simulated["tomogram"].absolute(), simulated["mask"].absolute()
    write_tomogram_list(tomograms, [TomogramRow(tomogram, "demo", tilt_range=SPECIFICATION.tilt_range, mask=mask)])
    training = TrainSettings(
        tomograms=tomograms,
        run_dir=out / "run",
        tilt_range=SPECIFICATION.tilt_range,
        contrast=SPECIFICATION.contrast,
        **TRAINING,
    )
    model = _last(coordinator.train(training, emit, should_stop))
    correction = PredictSettings(models=(model,), tomograms=tomograms, out=out / "corrected")
    corrected = _last(prediction.predict(correction, emit, should_stop))
    truth = np.asarray(open_volume(simulated["truth"]).data)
    before, after = (
        evaluate(truth, np.asarray(open_volume(path).data), SPECIFICATION.tilt_range) for path in (tomogram, corrected)
    )
    picture = out / "before_after_truth.png"
    draw(tomogram, corrected, simulated["truth"], picture)
    return DemoResult(before, after, picture)


def _last(outcome: Outcome) -> Path:
    """The last of the results; the demonstration's only tomogram may not fail."""
    for identifier, reason in outcome.failed.items():
        raise StageError(f"{identifier}: {reason}")
    return outcome.results[-1]


def _figure(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
