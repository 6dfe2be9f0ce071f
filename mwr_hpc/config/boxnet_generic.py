"""Options of training a generic particle picker, and of the demonstration that starts from one."""

from pathlib import Path
from typing import ClassVar, Self

from pydantic import ValidationInfo, field_validator, model_validator

from mwr_hpc.config.boxnet_training import ModelName, multiple_of_four, run_of
from mwr_hpc.config.fields import Settings, is_incomplete, option
from mwr_hpc.config.values import FilePath

INPUT, METHOD, TRAINING, RUN, RESOURCES = "Input", "Method", "Training", "Run", "Resources"


class TrainGenericSettings(Settings):
    """On which simulated micrographs a generic model is trained, and for how long."""

    command: ClassVar[str] = "boxnet train-generic"
    runs_network: ClassVar[bool] = True

    name: ModelName | None = option(None, "Of the new model (required).", group=INPUT, unit="name")
    number: int = option(72, "Micrographs to simulate.", group=INPUT, ge=2)
    species: int = option(36, "Made-up macromolecules that the micrographs take in turn.", group=INPUT, ge=1)
    corpus_seed: int = option(
        20_180_601, "Of the simulation; the number is that of the examples behind BoxNetGeneric.", group=INPUT, ge=0
    )
    width: int = option(32, "Channels at half the resolution, a multiple of 4.", group=METHOD, ge=4)
    epochs: int = option(10, "Of 20 patches from each micrograph.", group=TRAINING, ge=1)
    batch_size: int = option(8, "Patches per optimiser step.", group=TRAINING, ge=2)
    seed: int = option(0, "Of the training.", group=TRAINING, ge=0)
    run_dir: FilePath = option(
        None,
        "Folder for checkpoints and curves; give the same one to go on.",
        group=RUN,
        automatic="boxnet_run/NAME",
        may_change=True,
    )
    ranks: int = option(
        1,
        "Processes that train together (Horovod); they share --batch_size and give the model that one would.",
        group=RESOURCES,
        may_change=True,
        ge=1,
    )

    @field_validator("width")
    @classmethod
    def _width_is_a_multiple_of_four(cls, width: int) -> int:
        return multiple_of_four(width)

    @field_validator("run_dir", mode="before")
    @classmethod
    def _run_by_name(cls, run_dir: object, info: ValidationInfo) -> object:
        return run_of(run_dir, info)

    @model_validator(mode="after")
    def _some_name(self, info: ValidationInfo) -> Self:
        if self.name is None and not is_incomplete(info):
            raise ValueError("found no name; add --name with a name for the new model")
        return self


class BoxNetDemoSettings(Settings):
    """The demonstration: a new particle that the generic model is taught."""

    command: ClassVar[str] = "boxnet demo"
    runs_network: ClassVar[bool] = True

    out: FilePath = option(Path("boxnet_demo"), "Folder for everything that the demonstration makes.", group=RUN)
