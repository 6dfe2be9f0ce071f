"""Every option of `mwr-hpc train`, with MWR's names and meaning."""

from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import ValidationInfo, field_validator, model_validator

from mwr_hpc.config.checks import (
    check_continuation,
    check_crop,
    check_multiple,
    check_one_place,
    check_whole_batches,
    default_crop_size,
)
from mwr_hpc.config.fields import Settings, internal, is_incomplete, option
from mwr_hpc.config.sizes import SIZING_OPTIONS, check_hours, size_values
from mwr_hpc.config.values import BYTES_HELP, DeviceIndices, FilePath, TiltRange
from mwr_hpc.io.mrc_fields import Signedness

INPUT, RUN, METHOD, NOISE = "Input", "Run", "Method", "Noise"
TRAINING, NETWORK, RESOURCES, CLUSTER = "Training", "Network", "Resources", "Cluster"


class TrainSettings(Settings):
    """What one training run is asked to do."""

    command: ClassVar[str] = "train"
    runs_network: ClassVar[bool] = True

    input_dir: FilePath | None = option(
        None,
        "Folder of tomograms (.mrc, .rec, .ome.zarr) with similar content and imaging conditions.",
        group=INPUT,
        must_exist="folder",
    )
    tomograms: FilePath | None = option(
        None,
        "List of tomograms (.star), which may give each its tilt range, mask and group; instead of --input_dir.",
        group=INPUT,
        suffixes=(".star",),
        must_exist="file",
    )
    group: str | None = option(None, "Train on this group of the list alone.", group=INPUT)
    datas_are_subtomos: bool = option(
        False, "The inputs are the sub-tomograms, at least crop_size wide, in --subtomo_dir.", group=INPUT
    )
    subtomo_dir: FilePath | None = option(
        None, "Folder of sub-tomograms, with --datas_are_subtomos.", group=INPUT, must_exist="folder"
    )
    mask_dir: FilePath | None = option(
        None,
        "Folder of masks named <id>.mrc or <id>_mask.mrc; sub-tomograms are centred inside the mask.",
        group=INPUT,
        must_exist="folder",
    )
    allow_missing_masks: bool = option(False, "Sample a tomogram without a mask everywhere.", group=INPUT)
    tilt_range: TiltRange | None = option(
        None,
        "Lowest and highest tilt, whatever the list gives; need not be symmetric.",
        group=INPUT,
        unit="degrees",
        automatic="from the list, else -60 60",
        values=2,
    )
    flip_tilt: bool = option(
        False, "The tilt angles, here or in the list, have the other sign (some packages).", group=INPUT
    )
    contrast: Literal["dark", "bright"] = option("dark", "Whether protein is dark or bright in the input.", group=INPUT)
    normalize_percentile: bool = option(
        False, "Scale each tomogram by its 4th and 96th percentiles, not by mean and standard deviation.", group=INPUT
    )
    bytes: Signedness | None = option(None, BYTES_HELP, group=INPUT, automatic="as the files tell")

    preset: Literal["mwr", "quick", "small", "medium", "large", "huge"] | None = option(
        None,
        "Settings to start from: those of MWR's manual, or one of the sizes that --hours chooses from.",
        group=METHOD,
        automatic="mwr in mwr_cli.py and with --config; else a size for --hours unless size options are given",
        may_change=True,
    )
    hours: float | None = option(
        None, "Time for a training that the program sizes.", group=METHOD, automatic="1", may_change=True, gt=0
    )
    filter_base: int = option(64, "Filters of the first level.", group=NETWORK, ge=1)
    unet_depth: int = option(3, "Times the U-Net halves its cube.", group=NETWORK, ge=1, le=6)
    convs_per_depth: int = option(2, "Convolutions per level (MWR: 3).", group=NETWORK, ge=1)
    kernel: int = option(
        3,
        "Edge of the convolution kernels, odd; wider than 3 needs float32 on CPUs.",
        group=NETWORK,
        unit="voxels",
        ge=1,
    )
    drop_out: float = option(0.0, "Probability of dropout (MWR: 0.3).", group=NETWORK, ge=0, lt=1)
    batch_normalization: bool = option(False, "Batch normalisation after each convolution.", group=NETWORK)

    iterations: int = option(30, "Rounds of prepare, train, predict.", group=METHOD, may_change=True, ge=1)
    cube_size: int = option(
        64, "Edge of the cubes that the network sees.", group=METHOD, unit="voxels", aliases=("cubesize",), ge=1
    )
    crop_size: int = option(
        None,
        "Edge of the sub-tomograms that are cut out, so that a turned cube is whole.",
        group=METHOD,
        unit="voxels",
        automatic="1.5 x cube_size",
        aliases=("cropsize",),
        ge=1,
    )
    ncube: int = option(
        None,
        "Sub-tomograms per tomogram.",
        group=METHOD,
        automatic="50; 1 with --datas_are_subtomos",
        ge=1,
    )
    rotations: int = option(
        16,
        "Data pairs of each sub-tomogram per iteration, of the 20 rotations that move the wedge.",
        group=METHOD,
        ge=1,
        le=20,
    )

    noise_dir: FilePath | None = option(
        None, "Folder of noise volumes to add during training; None: no noise.", group=NOISE, must_exist="folder"
    )
    noise_level: float = option(
        0.05,
        "Standard deviation of the noise, as a ratio to the data's; added again at every step up.",
        group=NOISE,
        ge=0,
    )
    noise_start_iter: int = option(15, "First iteration with noise.", group=NOISE, ge=0)
    noise_pause: int = option(5, "Iterations between steps up of the noise.", group=NOISE, ge=1)

    epochs: int = option(10, "Epochs per iteration.", group=TRAINING, aliases=("epoch",), ge=1)
    batch_size: int = option(8, "Pairs per optimiser step.", group=TRAINING, aliases=("batchsize",), ge=1)
    steps_per_epoch: int | None = option(
        None,
        "Optimiser steps per epoch.",
        group=TRAINING,
        automatic="one pass over the pairs",
        aliases=("step_per_epoch",),
        ge=1,
    )
    max_samples: int = option(
        16000,
        "Most pairs per iteration when steps_per_epoch is automatic; every tomogram has its share.",
        group=TRAINING,
        ge=1,
    )
    pretrained_model: FilePath | None = option(
        None, "Model (.h5) of the same architecture to start from.", group=TRAINING, must_exist="file"
    )
    learning_rate: float = option(4e-4, "Learning rate of Adam.", group=TRAINING, gt=0)
    loss: Literal["l1", "l2"] = option("l2", "Squared (l2) or absolute (l1, as MWR) error.", group=TRAINING)
    seed: int = option(0, "Of all random numbers.", group=TRAINING, ge=0)
    deterministic: bool | None = option(
        None, "Give the same weights bit for bit when run again.", group=TRAINING, automatic="True on CPU"
    )

    run_dir: FilePath = option(Path("mwr_run"), "Folder that holds everything of this run.", group=RUN, may_change=True)
    result_dir: FilePath = option(None, "Folder for model_iterNN.h5.", group=RUN, automatic="RUN/results")
    continue_training: bool | None = option(
        None,
        "True or automatic: go on with the run that is there, else start one. False: there must be none.",
        group=RUN,
        automatic="go on where it stopped, as with True",
        may_change=True,
    )
    continue_iter: int | None = option(
        None,
        "Go on from model_iter<N>.h5 of this iteration; what ran after it is set aside.",
        group=RUN,
        automatic="the last one",
        may_change=True,
        ge=0,
    )

    precision: Literal["auto", "float32", "bfloat16"] = option(
        "auto", "Of the network's arithmetic; auto: what the hardware does faster.", group=RESOURCES
    )
    gpuID: DeviceIndices | None = option(
        None,
        "GPUs to use, as indices into the visible ones: 0,1,2,3.",
        group=RESOURCES,
        unit="indices",
        automatic="all visible",
        aliases=("gpu_id",),
        may_change=True,
    )
    ranks: int = option(
        None,
        "Processes that train together (Horovod); they share --batch_size and give the model that one would.",
        group=RESOURCES,
        automatic="one per id in --gpuID, else 1",
        may_change=True,
        ge=1,
    )
    predict_batch_size: int = option(
        None, "Sub-tomograms per batch of prediction.", group=RESOURCES, automatic="batch_size", may_change=True, ge=1
    )
    preprocessing_ncpus: int | None = option(
        None, "Processes for preparation.", group=RESOURCES, automatic="all cores", may_change=True, ge=1
    )
    slurm: bool = option(
        False,
        "Work in jobs of SLURM, which the site file describes; this process only starts and watches them.",
        group=CLUSTER,
        may_change=True,
    )
    in_allocation: bool = option(
        False, "Work on all nodes of the SLURM job that this process runs in.", group=CLUSTER, may_change=True
    )

    begun_by: Literal["0.2"] | None = internal(
        "Version whose rules the run keeps; none: 0.1.0, which counted padding and outliers as data."
    )

    @property
    def sizing_given(self) -> list[str]:
        """The options that were given and say how large the training is; where there is none, the program chooses."""
        return [name for name in SIZING_OPTIONS if name in self.given()]

    @model_validator(mode="before")
    @classmethod
    def _values_of_the_preset(cls, values: Any) -> Any:
        return size_values(values.get("preset"), values) | values if isinstance(values, dict) else values

    @field_validator("kernel")
    @classmethod
    def _kernel_is_odd(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"a kernel has a centre, so its size is odd; use {kernel - 1} or {kernel + 1}")
        return kernel

    @field_validator("cube_size")
    @classmethod
    def _cube_fits_the_network(cls, cube_size: int, info: ValidationInfo) -> int:
        if "unet_depth" in info.data:
            check_multiple(cube_size, 2 ** info.data["unet_depth"])
        return cube_size

    @field_validator("crop_size", mode="before")
    @classmethod
    def _crop_from_cube(cls, crop_size: object, info: ValidationInfo) -> object:
        if crop_size is not None:
            return crop_size
        wrong_before = "unet_depth" not in info.data or "cube_size" not in info.data
        return 1 if wrong_before else default_crop_size(info.data["cube_size"], 2 ** info.data["unet_depth"])

    @field_validator("crop_size")
    @classmethod
    def _crop_holds_cube(cls, crop_size: int, info: ValidationInfo) -> int:
        if "unet_depth" in info.data and "cube_size" in info.data:
            check_crop(crop_size, info.data["cube_size"], 2 ** info.data["unet_depth"])
        return crop_size

    @field_validator("ncube", mode="before")
    @classmethod
    def _ncube_by_kind_of_input(cls, ncube: object, info: ValidationInfo) -> object:
        return (1 if info.data.get("datas_are_subtomos") else 50) if ncube is None else ncube

    @field_validator("result_dir", mode="before")
    @classmethod
    def _results_inside_run(cls, result_dir: object, info: ValidationInfo) -> object:
        return info.data.get("run_dir", Path()) / "results" if result_dir is None else result_dir

    @field_validator("continue_iter")
    @classmethod
    def _no_iteration_zero(cls, continue_iter: int | None) -> int | None:
        """Scripts for MWR say 0, its default, where they mean none."""
        return continue_iter or None

    @field_validator("ranks", mode="before")
    @classmethod
    def _one_rank_per_device(cls, ranks: object, info: ValidationInfo) -> object:
        return len(info.data.get("gpuID") or (0,)) if ranks is None else ranks

    @field_validator("predict_batch_size", mode="before")
    @classmethod
    def _predict_as_trained(cls, size: object, info: ValidationInfo) -> object:
        return info.data.get("batch_size", 1) if size is None else size

    @model_validator(mode="after")
    def _one_source_of_inputs(self, info: ValidationInfo) -> Self:
        if self.datas_are_subtomos and self.subtomo_dir is None and not is_incomplete(info):
            raise ValueError("--datas_are_subtomos needs the folder of sub-tomograms: add --subtomo_dir FOLDER")
        sources = {
            "--input_dir": None if self.datas_are_subtomos else self.input_dir,
            "--tomograms": self.tomograms,
            "--subtomo_dir with --datas_are_subtomos True": self.subtomo_dir if self.datas_are_subtomos else None,
        }
        given = [name for name, value in sources.items() if value is not None]
        if len(given) > 1 or not (given or is_incomplete(info)):
            raise ValueError(f"found {' and '.join(given) or 'no input'}; give exactly one of {', '.join(sources)}")
        if self.group is not None and self.tomograms is None and not is_incomplete(info):
            raise ValueError(f"--group {self.group} chooses from a list: add --tomograms LIST.star, or leave it out")
        return self

    @model_validator(mode="after")
    def _options_go_together(self) -> Self:
        check_hours(self.hours, self.sizing_given)
        check_one_place({"--slurm": self.slurm, "--in_allocation": self.in_allocation})
        if self.batch_normalization:
            check_whole_batches(self.ranks)
        check_continuation(self.continue_iter, self.continue_training, self.iterations)
        return self
