"""How large a training shall be that its user leaves to the program: the largest named size that fits the time.

A size is chosen once. Its values stand in the run's configuration, and a run that is there is never sized again.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError

from mwr_hpc.config.errors import describe
from mwr_hpc.config.loading import settings_from_yaml
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.config.sizes import SIZED_OPTIONS, SIZES
from mwr_hpc.errors import ConfigError
from mwr_hpc.events import Emit, Notice
from mwr_hpc.missing_wedge.entries import TomogramEntry
from mwr_hpc.pipeline.network_cost import FORWARD_AND_BACKWARD, forward_gflop
from mwr_hpc.pipeline.speed import Speed
from mwr_hpc.pipeline.starting import cohort_as_named
from mwr_hpc.run_directory import RunDirectory

DEFAULT_HOURS = 1.0

SMALLEST_CROP = 48
"""Tomograms that are too thin for crops of this edge do not count when the crop is chosen, unless all are."""

CROP_TO_THICKNESS = 1.5
"""Widest crop over the thickness of a tomogram: cubes are two thirds of a crop, so none of their voxels is padded."""

SECONDS_PER_CROP_VOXEL = 1.5e-7
"""Processor time of a sub-tomogram's pairs in one iteration, by the voxels of its crop (benchmarks/preparation.py)."""

SECONDS_PER_ITERATION, SECONDS_AT_START = 2.0, 20.0
"""What passes beside the work itself."""


class Place(Protocol):
    """Where the training will be done."""

    def speed(self, settings: TrainSettings) -> Speed:
        """How fast one of its ranks is."""
        ...


@dataclass(frozen=True)
class Choice:
    """A named size as it suits some tomograms: its values and the seconds that the training will take."""

    name: str
    values: dict[str, Any]
    seconds: float


def settle_size(
    settings: TrainSettings, run: RunDirectory, entries: Sequence[TomogramEntry], place: Place, emit: Emit
) -> TrainSettings:
    """Return the settings with a size, where none was given; those of the run that goes on.

    Parameters
    ----------
    settings
        Of this call.
    run
        The run, which may not be there yet.
    entries
        The tomograms whose headers are sound.
    place
        Where the training will be done; asked for its speed only when a size is chosen.
    emit
        Told of the choice and its reason.

    Raises
    ------
    ConfigError
        Other options do not go with the size, or the run's configuration cannot be read.
    """
    if run.config.exists():
        return _as_in_the_run(settings, settings_from_yaml(TrainSettings, run.config), run, emit)
    if settings.sizing_given or not entries:
        return settings
    hours = settings.hours or DEFAULT_HOURS
    emit(Notice("no size is given, so one is chosen by the speed of training"))
    speed = place.speed(settings)
    choices = [_fitted(name, settings, entries, speed) for name in SIZES]
    fitting = [choice for choice in choices if choice.seconds <= 3600 * hours]
    chosen = (fitting or choices[:1])[-1]
    sized = _with_values(settings, chosen.values | {"preset": chosen.name})
    emit(Notice(_reason(chosen, sized, hours, speed, bool(fitting)), warning=not fitting))
    return sized


def size_to_plan(settings: TrainSettings, place: Place, emit: Emit) -> TrainSettings:
    """Return the settings with the size that `settle_size` would choose for the tomograms that they name."""
    run = RunDirectory(settings.run_dir, settings.result_dir)
    return settle_size(settings, run, cohort_as_named(settings).entries, place, emit)


def _as_in_the_run(settings: TrainSettings, before: TrainSettings, run: RunDirectory, emit: Emit) -> TrainSettings:
    """Take from a run what this call leaves to the program: of a sized one whatever is not given."""
    if settings.hours is not None:
        text = f"--hours {settings.hours:g} changes nothing: the run in {run.root} has had its size since its start"
        emit(Notice(text, warning=True))
    if settings.preset is not None or (settings.sizing_given and before.preset not in SIZES):
        return settings
    return _with_values(settings, {name: getattr(before, name) for name in (*SIZED_OPTIONS, "preset")})


def _with_values(settings: TrainSettings, values: Mapping[str, Any]) -> TrainSettings:
    """`settings` with these values for what is not given, and with what follows from them."""
    given = {name: value for name, value in settings.given().items() if name != "hours"}
    left = dict(values)
    if {"cube_size", "unet_depth"} & given.keys():  # the crop follows from these
        left.pop("crop_size", None)
    try:
        return TrainSettings.model_validate(left | given)
    except ValidationError as error:
        raise ConfigError(describe(error, TrainSettings, dict.fromkeys(left, "the size of the run"))) from None


def _fitted(name: str, settings: TrainSettings, entries: Sequence[TomogramEntry], speed: Speed) -> Choice:
    """A size with crops that the tomograms can hold, sub-tomograms shared out, and a pair at least for each rank."""
    values = dict(SIZES[name])
    multiple = 2 ** values["unet_depth"]
    crop = max(multiple, min(values["crop_size"], _largest_crop(entries, settings.datas_are_subtomos, multiple)))
    if crop < values["crop_size"]:
        values |= {"crop_size": crop, "cube_size": max(multiple, crop * 2 // 3 // multiple * multiple)}
    values["ncube"] = 1 if settings.datas_are_subtomos else math.ceil(values["ncube"] / len(entries))
    values["batch_size"] = math.ceil(values["batch_size"] / settings.ranks) * settings.ranks
    given = settings.given()
    values |= {option: given[option] for option in values if option in given}
    network = {"convs_per_depth": settings.convs_per_depth, "kernel": settings.kernel}
    return Choice(name, values, expected_seconds(values | network, len(entries), settings.ranks, speed))


def _largest_crop(entries: Sequence[TomogramEntry], inside: bool, multiple: int) -> int:
    """The widest crop for the thinnest tomogram that counts."""

    def widest(thickness: int) -> int:
        most = thickness if inside else 2 * thickness
        wanted = min(most, max(SMALLEST_CROP, int(CROP_TO_THICKNESS * thickness)))
        return wanted // multiple * multiple

    crops = [widest(min(entry.shape)) for entry in entries]
    return min([crop for crop in crops if crop >= SMALLEST_CROP] or crops)


def expected_seconds(options: Mapping[str, Any], tomograms: int, ranks: int, speed: Speed) -> float:
    """Return the time of a whole training on the clock.

    Parameters
    ----------
    options
        Those that a size settles, `convs_per_depth` and `kernel`.
    tomograms
        How many there are.
    ranks
        Processes that train, and predict the sub-tomograms, side by side.
    speed
        Of each of them.
    """
    pairs = options["epochs"] * options["steps_per_epoch"] * options["batch_size"] / ranks
    crops = tomograms * options["ncube"]
    trained = pairs * FORWARD_AND_BACKWARD * forward_gflop(options, options["cube_size"])
    predicted = crops / ranks * forward_gflop(options, options["crop_size"])
    prepared = crops * options["crop_size"] ** 3 * SECONDS_PER_CROP_VOXEL
    iteration = (trained + predicted) / speed.gflops + prepared + SECONDS_PER_ITERATION
    return SECONDS_AT_START + options["iterations"] * iteration


def size_in_words(settings: TrainSettings) -> str | None:
    """Describe the size of a training; None where it has no name."""
    if settings.preset not in SIZES:
        return None
    steps = settings.epochs * (settings.steps_per_epoch or 0)
    return (
        f"size {settings.preset}: {settings.filter_base} filters, cubes of {settings.cube_size} voxels, "
        f"{settings.ncube} sub-tomograms of each tomogram, {settings.iterations} iterations of {steps} steps"
    )


def _reason(chosen: Choice, sized: TrainSettings, hours: float, speed: Speed, fits: bool) -> str:
    takes = f"about {_minutes(chosen.seconds)} at {speed.gflops:.0f} GFLOP/s ({speed.origin})"
    which = "the largest that fits" if fits else "the smallest there is, though it does not fit"
    return f"{size_in_words(sized)}. Of {', '.join(SIZES)} this is {which} --hours {hours:g}: {takes}"


def _minutes(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"
