"""Options of what comes before training: lists of tomograms, masks, noise volumes, and the check of it all."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import ValidationInfo, model_validator

from mwr_hpc.config.checks import check_multiple
from mwr_hpc.config.fields import Settings, is_incomplete, option
from mwr_hpc.config.values import BYTES_HELP, FilePath, FilePaths, TiltRange
from mwr_hpc.io.mrc_fields import Signedness

INPUT, OUTPUT, METHOD, RESOURCES = "Input", "Output", "Method", "Resources"


class CohortSettings(Settings):
    """Which tomograms go into a list, and what the list says of them."""

    command: ClassVar[str] = "cohort"

    inputs: FilePaths = option(
        (),
        "Folders of tomograms, single tomograms, or lists (.star) of mwr-hpc, IsoNet, RELION 5 or Warp.",
        group=INPUT,
        positional=True,
        must_exist="file or folder",
    )
    tilt_range: TiltRange | None = option(
        None, "Lowest and highest tilt, where a list gives none.", group=INPUT, unit="degrees", values=2
    )
    tlt_dir: FilePath | None = option(
        None,
        "Folder of tilt angles, instead of --tilt_range: <id>.tlt, .rawtlt, .aln, .mdoc, .tomostar, RELION 5's "
        "<id>.star, or <id>/tilt.com.",
        group=INPUT,
        must_exist="folder",
    )
    flip_tilt: bool = option(False, "The tilt angles have the other sign (some packages).", group=INPUT)
    mask_dir: FilePath | None = option(
        None, "Folder of masks named <id>.mrc or <id>_mask.mrc.", group=INPUT, must_exist="folder"
    )
    allow_missing_masks: bool = option(False, "List a tomogram without a mask too.", group=INPUT)
    bytes: Signedness | None = option(None, BYTES_HELP, group=INPUT, automatic="as the files tell")
    group: str | None = option(
        None, "Name of the group of these tomograms; train takes one group with --group.", group=OUTPUT
    )
    out: FilePath = option(Path("tomograms.star"), "The list to write.", group=OUTPUT)

    @model_validator(mode="after")
    def _something_to_list(self, info: ValidationInfo) -> Self:
        if not self.inputs and not is_incomplete(info):
            raise ValueError("found no input; name folders of tomograms, or lists: mwr-hpc cohort DIR... --out LIST")
        if self.tilt_range is not None and self.tlt_dir is not None:
            raise ValueError("found both --tilt_range and --tlt_dir; give the range of all tomograms, or their files")
        return self


class MakeMaskSettings(Settings):
    """Volumes to make masks of, and what decides where the specimen is."""

    command: ClassVar[str] = "make-mask"

    input: FilePath | None = option(
        None, "A tomogram, or a folder of them.", group=INPUT, positional=True, must_exist="file or folder"
    )
    contrast: Literal["dark", "bright"] = option("dark", "Whether protein is dark or bright in the input.", group=INPUT)
    bytes: Signedness | None = option(None, BYTES_HELP, group=INPUT, automatic="as the files tell")
    out: FilePath = option(
        Path("masks"),
        "Folder for <id>_mask.mrc; for one tomogram it may be the mask itself (.mrc).",
        group=OUTPUT,
        positional=True,
    )
    side: int = option(
        8,
        "Half the edge of the windows; they hold 2 x side + 1 binned voxels.",
        group=METHOD,
        unit="binned voxels",
        ge=1,
    )
    percentile: float = option(
        99.0,
        "Percent of the voxels that pass the test of local density, those with most of it; 100 leaves the test out.",
        group=METHOD,
        aliases=("density_percentage",),
        gt=0,
        le=100,
    )
    threshold: float = option(
        1.0,
        "Least local standard deviation, in units of the tomogram's; 0 leaves the test out.",
        group=METHOD,
        ge=0,
    )
    z_crop: float = option(
        0.0, "Share of the depth to leave out at the top and again at the bottom.", group=METHOD, ge=0, lt=0.5
    )
    preprocessing_ncpus: int | None = option(None, "Processes.", group=RESOURCES, automatic="all cores", ge=1)

    @model_validator(mode="after")
    def _something_to_mask(self, info: ValidationInfo) -> Self:
        if self.input is None and not is_incomplete(info):
            raise ValueError("found no input; name a tomogram or a folder of them: mwr-hpc make-mask INPUT [OUT]")
        return self


class GenerateNoiseSettings(Settings):
    """Noise volumes to make, with the spectrum of a reconstruction's noise."""

    command: ClassVar[str] = "generate-noise"

    out: FilePath = option(
        Path("noise.zarr"), "The Zarr array to write, for train --noise_dir.", group=OUTPUT, positional=True
    )
    number: int = option(1000, "Noise volumes.", group=METHOD, aliases=("number_volume",), ge=1)
    cube_size: int = option(
        64,
        "Their edge; training cuts cubes of its own cube_size from larger ones.",
        group=METHOD,
        unit="voxels",
        aliases=("cubesize",),
        ge=8,
    )
    tilt_range: TiltRange = option(
        (-60.0, 60.0), "Lowest and highest tilt, as in training.", group=METHOD, unit="degrees", values=2
    )
    flip_tilt: bool = option(False, "The tilt angles have the other sign (some packages).", group=METHOD)
    tilt_step: float = option(2.0, "Between tilts.", group=METHOD, unit="degrees", gt=0)
    filter: Literal["none", "ramp", "hamming"] = option(
        "ramp",
        "Weight of the projections: as the reconstruction's; hamming is ramp with a Hamming window.",
        group=METHOD,
    )
    seed: int = option(0, "Of all random numbers; the same seed gives the same volumes.", group=METHOD, ge=0)

    @model_validator(mode="after")
    def _step_inside_range(self) -> Self:
        width = self.tilt_range[1] - self.tilt_range[0]
        if self.tilt_step > width:
            raise ValueError(f"--tilt_step {self.tilt_step:g} is more than the tilt range of {width:g} degrees; use 2")
        return self


class CheckSettings(Settings):
    """Tomograms to look at before training, and with which sizes they shall be trained on."""

    command: ClassVar[str] = "check"

    inputs: FilePaths = option(
        (),
        "Tomograms, folders of them, or lists (.star); without any only the environment is checked.",
        group=INPUT,
        positional=True,
        must_exist="file or folder",
    )
    tilt_range: TiltRange | None = option(
        None, "Lowest and highest tilt, whatever a list gives.", group=INPUT, unit="degrees", values=2
    )
    flip_tilt: bool = option(False, "The tilt angles have the other sign (some packages).", group=INPUT)
    mask_dir: FilePath | None = option(
        None, "Folder of masks named <id>.mrc or <id>_mask.mrc.", group=INPUT, must_exist="folder"
    )
    allow_missing_masks: bool = option(False, "Tomograms without a mask are meant to be without.", group=INPUT)
    group: str | None = option(None, "Only this group of a list.", group=INPUT)
    bytes: Signedness | None = option(None, BYTES_HELP, group=INPUT, automatic="as the files tell")
    cube_size: int = option(
        64, "As for train: a mask must leave places for such cubes.", group=METHOD, unit="voxels", ge=1
    )
    crop_size: int | None = option(
        None, "As for train.", group=METHOD, unit="voxels", automatic="1.5 x cube_size", ge=1
    )
    ncube: int = option(50, "As for train: places that a mask should have at least.", group=METHOD, ge=1)
    full: bool = option(
        False, "Read every voxel, to find bad ones; else only blocks in the middle and masks are read.", group=METHOD
    )
    run_dir: FilePath = option(
        Path("mwr_run"), "Folder that a run would write to: its space and number of files are checked.", group=OUTPUT
    )

    @model_validator(mode="after")
    def _cube_is_even(self) -> Self:
        check_multiple(self.cube_size, 2)
        return self
