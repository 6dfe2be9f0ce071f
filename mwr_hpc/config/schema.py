"""The settings of every command, one definition per option; `COMMANDS` lists them all."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import ValidationInfo, field_validator, model_validator

from mwr_hpc.config.boxnet_data import PrepareExamplesSettings, SimulateMicrographsSettings
from mwr_hpc.config.boxnet_generic import BoxNetDemoSettings, TrainGenericSettings
from mwr_hpc.config.boxnet_models import ModelListSettings, ModelShowSettings
from mwr_hpc.config.boxnet_picking import EvaluatePicksSettings, PickSettings
from mwr_hpc.config.boxnet_training import RetrainSettings
from mwr_hpc.config.checks import check_one_place, check_share
from mwr_hpc.config.fields import Settings, is_incomplete, option
from mwr_hpc.config.preparation import CheckSettings, CohortSettings, GenerateNoiseSettings, MakeMaskSettings
from mwr_hpc.config.runs import CancelSettings, RetrySettings, StatusSettings
from mwr_hpc.config.training import TrainSettings
from mwr_hpc.config.values import BYTES_HELP, DeviceIndices, FilePath, FilePaths, Size3, TiltRange
from mwr_hpc.io.mrc_fields import Signedness

__all__ = [
    "COMMANDS",
    "BoxNetDemoSettings",
    "CancelSettings",
    "CheckSettings",
    "CohortSettings",
    "ConvertSettings",
    "DemoSettings",
    "EvaluateSettings",
    "GenerateNoiseSettings",
    "MakeMaskSettings",
    "PredictSettings",
    "RetrySettings",
    "SimulateSettings",
    "StatusSettings",
    "TrainGenericSettings",
    "TrainSettings",
]

INPUT, OUTPUT, METHOD, RESOURCES, CLUSTER = "Input", "Output", "Method", "Resources", "Cluster"
SPECIMEN, MICROSCOPE = "Specimen", "Microscope"


class ConvertSettings(Settings):
    """MRC volumes to turn into OME-Zarr."""

    command: ClassVar[str] = "convert"

    inputs: FilePaths = option(
        (),
        "MRC files (.mrc, .rec, .map), or folders of them.",
        group=INPUT,
        positional=True,
        must_exist="file or folder",
    )
    bytes: Signedness | None = option(None, BYTES_HELP, group=INPUT, automatic="as the files tell")
    out: FilePath = option(Path("converted"), "Folder for <id>.ome.zarr.", group=OUTPUT)
    preprocessing_ncpus: int | None = option(None, "Processes.", group=RESOURCES, automatic="all cores", ge=1)

    @model_validator(mode="after")
    def _something_to_convert(self, info: ValidationInfo) -> Self:
        if not self.inputs and not is_incomplete(info):
            raise ValueError("found no input; name MRC files or folders: mwr-hpc convert INPUT... --out DIR")
        return self


class PredictSettings(Settings):
    """Which tomograms to correct with which models."""

    command: ClassVar[str] = "predict"
    runs_network: ClassVar[bool] = True

    models: FilePaths = option(
        (),
        "Models (model_iterNN.h5); with several, each has its folder of results.",
        group=INPUT,
        positional=True,
        suffixes=(".h5", ".hdf5"),
        must_exist="file",
    )
    inputs: FilePaths = option(
        (),
        "Tomograms (.mrc, .rec, .map, .ome.zarr), or folders of them.",
        group=INPUT,
        positional=True,
        must_exist="file or folder",
    )
    tomograms: FilePath | None = option(
        None,
        "List of tomograms (.star), which may give each its tilt range; or tomograms, as INPUT.",
        group=INPUT,
        positional=True,
        suffixes=(".star",),
        must_exist="file",
    )
    tilt_range: TiltRange | None = option(
        None,
        "Lowest and highest tilt, whatever the list or the model says.",
        group=INPUT,
        unit="degrees",
        automatic="from the list, else from the model",
        values=2,
    )
    flip_tilt: bool = option(
        False,
        "The tilt angles, here or in the list, have the other sign (some packages); those of the model never have.",
        group=INPUT,
    )
    contrast: Literal["dark", "bright"] | None = option(
        None, "Whether protein is dark or bright in the input.", group=INPUT, automatic="as in training"
    )
    bytes: Signedness | None = option(None, BYTES_HELP, group=INPUT, automatic="as the files tell")
    out: FilePath = option(Path("corrected"), "Folder for <id>_corrected.mrc.", group=OUTPUT)
    dtype: Literal["float32", "float16"] = option("float32", "Of the corrected tomograms.", group=OUTPUT)
    format: Literal["mrc", "ome-zarr", "both"] = option("mrc", "Of the corrected tomograms.", group=OUTPUT)
    keep_measured: bool = option(
        False, "Put the measured Fourier values back; else the output is denoised too.", group=METHOD
    )
    cube_size: int | None = option(
        None,
        "Edge of what is kept of each tile.",
        group=METHOD,
        unit="voxels",
        automatic="by the memory",
        aliases=("cubesize",),
        ge=1,
    )
    crop_size: int | None = option(
        None,
        "Edge of the tiles that the network sees; neighbours overlap by the difference to cube_size.",
        group=METHOD,
        unit="voxels",
        automatic="by cube_size",
        aliases=("cropsize",),
        ge=1,
    )
    batch_size: int = option(4, "Tiles per batch.", group=RESOURCES, aliases=("batchsize",), ge=1)
    gpuID: DeviceIndices | None = option(
        None,
        "GPUs to use, as indices into the visible ones: 0,1,2,3.",
        group=RESOURCES,
        unit="indices",
        automatic="all visible",
        aliases=("gpu_id",),
    )
    slurm: bool = option(
        False,
        "Work in jobs of SLURM, which the site file describes; this process only starts and watches them.",
        group=CLUSTER,
    )
    in_allocation: bool = option(False, "Work on all nodes of the SLURM job that this process runs in.", group=CLUSTER)
    share: str | None = option(
        None, "Do part I (from 0) of N of the work, I/N; other processes do the other parts.", group=CLUSTER
    )

    @field_validator("share")
    @classmethod
    def _share_of_a_whole(cls, share: str | None) -> str | None:
        return check_share(share)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        check_one_place({"--slurm": self.slurm, "--in_allocation": self.in_allocation, "--share": self.share})
        return self

    @field_validator("crop_size")
    @classmethod
    def _crop_holds_cube(cls, crop_size: int | None, info: ValidationInfo) -> int | None:
        cube_size = info.data.get("cube_size")
        if crop_size is not None and cube_size is not None and crop_size < cube_size:
            raise ValueError(
                f"smaller than cube_size {cube_size}, which is kept of it; "
                f"use at least {cube_size}, better {3 * cube_size // 2} (1.5 x cube_size)"
            )
        return crop_size

    @model_validator(mode="after")
    def _models_and_tomograms(self, info: ValidationInfo) -> Self:
        if not self.models and not is_incomplete(info):
            raise ValueError("found no model; name one or more: mwr-hpc predict MODEL.h5 ... --out DIR")
        if self.tomograms is not None and self.inputs:
            raise ValueError("found both a list (--tomograms) and tomograms by name; give one or the other")
        if self.tomograms is None and not self.inputs and not is_incomplete(info):
            raise ValueError(
                "found no tomogram; name tomograms, a folder of them, or a list with --tomograms LIST.star"
            )
        return self


class EvaluateSettings(Settings):
    """A tomogram to judge, and what to judge it by."""

    command: ClassVar[str] = "evaluate"

    tomogram: FilePath | None = option(
        None, "The volume to judge.", group=INPUT, positional=True, must_exist="file or folder"
    )
    truth: FilePath | None = option(None, "Known truth of the same shape.", group=INPUT, must_exist="file or folder")
    before: FilePath | None = option(None, "The tomogram before correction.", group=INPUT, must_exist="file or folder")
    tilt_range: TiltRange | None = option(
        None, "Lowest and highest tilt (required).", group=INPUT, unit="degrees", values=2
    )
    flip_tilt: bool = option(False, "The tilt angles have the other sign (some packages).", group=INPUT)
    bytes: Signedness | None = option(None, BYTES_HELP, group=INPUT, automatic="as the files tell")

    @model_validator(mode="after")
    def _tomogram_and_tilts(self, info: ValidationInfo) -> Self:
        if is_incomplete(info):
            return self
        if self.tomogram is None:
            raise ValueError("found no tomogram; name one: mwr-hpc evaluate TOMOGRAM --tilt_range -60 60")
        if self.tilt_range is None:
            raise ValueError(
                "found no tilt range, which tells measured from missing; add for example --tilt_range -60 60"
            )
        return self


class SimulateSettings(Settings):
    """A tomogram with known truth to make."""

    command: ClassVar[str] = "simulate"
    typed: ClassVar[str] = "simulate tomogram"

    out: FilePath = option(Path("simulated"), "Folder for tomogram, truth, even and odd halves and mask.", group=OUTPUT)
    contrast: Literal["dark", "bright"] = option("dark", "Of all volumes: protein dark or bright.", group=OUTPUT)
    seed: int = option(0, "Of all random numbers; the same seed gives the same bytes.", group=OUTPUT, ge=0)
    shape: Size3 = option((96, 160, 160), "Sizes along z, y and x.", group=SPECIMEN, unit="voxels", values=3)
    voxel_size: float = option(10.0, "Edge of a voxel.", group=SPECIMEN, unit="angstrom", ge=2)
    density_maps: FilePaths = option(
        (), "MRC files of one macromolecule each; none: built-in shapes.", group=SPECIMEN, must_exist="file"
    )
    bytes: Signedness | None = option(None, BYTES_HELP, group=SPECIMEN, automatic="as the files tell")
    particles: int | None = option(
        None, "Macromolecules.", group=SPECIMEN, automatic="as many as --crowding takes", ge=0
    )
    crowding: float = option(
        0.15, "Share of the volume that macromolecules fill, without --particles.", group=SPECIMEN, ge=0, le=0.5
    )
    membranes: int = option(1, "Vesicles.", group=SPECIMEN, ge=0)
    gold: int = option(3, "Gold beads.", group=SPECIMEN, ge=0)
    filaments: int = option(2, "Filaments.", group=SPECIMEN, ge=0)
    tilt_range: TiltRange = option(
        (-60.0, 60.0), "Lowest and highest tilt.", group=MICROSCOPE, unit="degrees", values=2
    )
    tilt_step: float = option(3.0, "Between tilts.", group=MICROSCOPE, unit="degrees", gt=0)
    snr: float | None = option(
        1.0, "Variance of the projections over that of their noise; None: no noise.", group=MICROSCOPE, gt=0
    )
    defocus: float | None = option(
        None,
        "Underfocus of the contrast transfer function; None: no such function.",
        group=MICROSCOPE,
        unit="micrometre",
    )

    @field_validator("tilt_step")
    @classmethod
    def _step_inside_range(cls, tilt_step: float, info: ValidationInfo) -> float:
        low, high = info.data.get("tilt_range", (-90, 90))
        if tilt_step > high - low:
            raise ValueError(f"more than the whole tilt range of {high - low:g} degrees; use for example 3")
        return tilt_step


class DemoSettings(Settings):
    """The demonstration: a simulated tomogram, trained on and corrected."""

    command: ClassVar[str] = "demo"
    runs_network: ClassVar[bool] = True

    out: FilePath = option(Path("demo"), "Folder for everything that the demonstration makes.", group=OUTPUT)


COMMANDS: dict[str, type[Settings]] = {
    settings.command: settings
    for settings in (
        *(TrainSettings, PredictSettings, CohortSettings, MakeMaskSettings, GenerateNoiseSettings, CheckSettings),
        *(ConvertSettings, SimulateSettings, EvaluateSettings, DemoSettings),
        *(StatusSettings, RetrySettings, CancelSettings),
        *(RetrainSettings, TrainGenericSettings, BoxNetDemoSettings, ModelListSettings, ModelShowSettings),
        *(SimulateMicrographsSettings, PrepareExamplesSettings, PickSettings, EvaluatePicksSettings),
    )
}
"""All settings by the command that they belong to."""
