"""The named sizes of a training, and the manual's settings: what `--preset` chooses from.

A size is what a training needs to fill the wedge visibly in a given time (docs/method.md holds the trials behind it):
single pairs a step, many short iterations, a learning rate that such steps bear. A larger one does more of all that.
"""

from collections.abc import Collection
from typing import Any

MANUAL = "mwr"
"""The preset that stands for the defaults of the options, which are those of MWR's manual."""

_SHARED = {"unet_depth": 3, "rotations": 20, "epochs": 1}
_COLUMNS = (
    *("filter_base", "cube_size", "crop_size", "ncube"),
    *("batch_size", "learning_rate", "iterations", "steps_per_epoch"),
)
_ROWS = {
    "quick": (16, 32, 48, 20, 1, 6e-4, 12, 128),
    "small": (16, 32, 48, 20, 1, 6e-4, 30, 256),
    "medium": (16, 48, 72, 30, 1, 6e-4, 30, 256),
    "large": (24, 48, 72, 30, 1, 6e-4, 30, 256),
    "huge": (32, 64, 96, 50, 2, 4e-4, 30, 400),
}

SIZES: dict[str, dict[str, Any]] = {
    name: _SHARED | dict(zip(_COLUMNS, row, strict=True)) for name, row in _ROWS.items()
}
"""From the smallest to the largest; `ncube` is that of a single tomogram, and a cohort shares it out."""

PRESETS = (MANUAL, *SIZES)

SIZED_OPTIONS = tuple(SIZES["quick"])
"""The options that a size sets."""

SIZING_OPTIONS = (
    *("filter_base", "cube_size", "crop_size", "unet_depth"),
    *("iterations", "epochs", "steps_per_epoch", "preset", "pretrained_model"),
)
"""Options of which any, given, leaves the size of a training to its user. A pretrained model brings its own network."""


def size_values(preset: object, given: dict[str, Any]) -> dict[str, Any]:
    """Return the values that a size gives to the options that are not given; none unless `preset` is a size."""
    if preset not in SIZES:
        return {}
    values = {name: value for name, value in SIZES[str(preset)].items() if name not in given}
    if {"cube_size", "unet_depth"} & given.keys():  # the crop follows from these
        values.pop("crop_size", None)
    return values


def check_hours(hours: float | None, sizing_given: Collection[str]) -> None:
    """Raise ValueError when a time is given for a training whose size is given, too."""
    if hours is not None and sizing_given:
        raise ValueError(
            f"--hours {hours:g} asks for a size that fits, but {', '.join(f'--{name}' for name in sizing_given)} "
            "(implied by a --config file and by mwr_cli.py: --preset) says already how large the training is; leave "
            "out --hours, or these"
        )
