"""Options of what a particle picker learns from: simulated micrographs, and examples made of corrected picks."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationInfo, model_validator

from mwr_hpc.config.fields import Settings, is_incomplete, option
from mwr_hpc.config.values import BYTES_HELP, FilePath, FilePaths, split_words
from mwr_hpc.io.mrc_fields import Signedness

INPUT, OUTPUT, METHOD, RESOURCES = "Input", "Output", "Method", "Resources"
SPECIMEN, MICROSCOPE = "Specimen", "Microscope"


def _one_or_two_numbers(value: object) -> object:
    words = split_words(value)
    if not isinstance(words, list | tuple) or len(words) not in (1, 2):
        raise ValueError("expected one number, or the lowest and the highest; for example 1 or 0.5 2")
    return (words[0], words[-1])


def _in_order(value: tuple[float, float]) -> tuple[float, float]:
    if value[0] > value[1]:
        raise ValueError(f"the lowest, {value[0]:g}, is above the highest, {value[1]:g}; give the lowest first")
    return value


Range = Annotated[tuple[float, float], BeforeValidator(_one_or_two_numbers), AfterValidator(_in_order)]
"""A number, or the lowest and the highest of a range to draw from."""


def _one_or_two_sizes(value: object) -> object:
    words = split_words(value)
    if not isinstance(words, list | tuple) or len(words) not in (1, 2):
        raise ValueError("expected height and width in pixels, or one number for both; for example 1024 1024")
    return (words[0], words[-1])


Size2 = Annotated[tuple[Annotated[int, Field(ge=64)], Annotated[int, Field(ge=64)]], BeforeValidator(_one_or_two_sizes)]
"""Height and width in pixels."""


class SimulateMicrographsSettings(Settings):
    """Micrographs with known truth to make."""

    command: ClassVar[str] = "boxnet simulate"

    out: FilePath = option(
        Path("micrographs"), "Folder for micrographs, truth/, junk/ and mask/.", group=OUTPUT, positional=True
    )
    number: int = option(10, "Micrographs; with a higher number more are added.", group=OUTPUT, ge=1, le=100_000)
    contrast: Literal["dark", "bright"] = option("dark", "Whether protein is dark or bright.", group=OUTPUT)
    seed: int = option(0, "Of all random numbers; the same seed gives the same bytes.", group=OUTPUT, ge=0)
    size: Size2 = option((1024, 1024), "Height and width.", group=OUTPUT, unit="pixels", values=2)
    angpix: float = option(4.0, "Pixel size.", group=OUTPUT, unit="angstrom", aliases=("pixel_size",), ge=0.2, le=20)
    maps: FilePaths = option(
        (),
        "MRC files of one macromolecule each, taken in turn; none: made-up ones.",
        group=SPECIMEN,
        must_exist="file",
    )
    bytes: Signedness | None = option(None, BYTES_HELP, group=SPECIMEN, automatic="as the files tell")
    species: int = option(12, "Made-up macromolecules, taken in turn, without --maps.", group=SPECIMEN, ge=1)
    particles: int | None = option(
        None, "In each micrograph.", group=SPECIMEN, automatic="as many as --crowding says", ge=0
    )
    crowding: Range = option(
        (0.05, 0.3),
        "Share of the area covered by discs of the particle's diameter, at most 0.5; like all ranges, drawn anew for "
        "each micrograph, or one number.",
        group=SPECIMEN,
        values=2,
    )
    contamination: float = option(
        1.0,
        "Ice crystals, ethane, aggregates, carbon edges, broken particles: 0 none, 1 as usual.",
        group=SPECIMEN,
        ge=0,
        le=10,
    )
    ice_gradient: float = option(
        1.0, "Slow changes of the background, in units of the noise.", group=SPECIMEN, ge=0, le=10
    )
    snr: Range | None = option(
        (0.5, 2.0),
        "Variance of a particle in its disc over that of the noise, at 8 A per pixel; None: no noise.",
        group=MICROSCOPE,
        values=2,
    )
    defocus: Range = option((1.0, 3.0), "Underfocus.", group=MICROSCOPE, unit="micrometre", values=2)
    voltage: float = option(300.0, "Of the microscope.", group=MICROSCOPE, unit="kV", ge=50, le=1000)
    spherical_aberration: float = option(2.7, "Of the microscope.", group=MICROSCOPE, unit="mm", ge=0, le=10)
    amplitude_contrast: float = option(0.07, "Share of amplitude contrast.", group=MICROSCOPE, ge=0, le=1)
    smoothing: Range = option(
        (0.0, 18.0),
        "Standard deviation of the Gaussian of a denoised micrograph; 0: not denoised.",
        group=MICROSCOPE,
        unit="angstrom",
        values=2,
    )


class PrepareExamplesSettings(Settings):
    """Micrographs and corrected picks to make examples of."""

    command: ClassVar[str] = "boxnet examples prepare"

    micrographs: FilePath | None = option(
        None, "Folder of micrographs (.mrc, .tif).", group=INPUT, positional=True, must_exist="folder"
    )
    positives: FilePath | None = option(
        None,
        "Corrected picks: a STAR file, whose suffix all others beside it are matched by; a folder of STAR files, for "
        "example of only those that were cleaned up; or one STAR file of many micrographs. Also .box, .cbox, and "
        "tables of Topaz (.txt).",
        group=INPUT,
        automatic="<micrographs>/matching",
        must_exist="file or folder",
    )
    important_suffix: str | None = option(
        None, "Suffix of STAR files beside the positives with places that weigh more.", group=INPUT, unit="suffix"
    )
    uncertain_suffix: str | None = option(
        None, "Suffix of STAR files beside the positives with places that weigh nothing.", group=INPUT, unit="suffix"
    )
    masks: FilePath | None = option(
        None,
        "Folder of masks of contamination, <micrograph>.tif or .mrc; the first row of a TIFF is the top of the "
        "picture, that of an MRC file its bottom.",
        group=INPUT,
        automatic="<micrographs>/mask, if it is there",
        must_exist="folder",
    )
    angpix: float | None = option(
        None, "Pixel size of the micrographs.", group=INPUT, unit="angstrom", automatic="from their headers", gt=0
    )
    contrast: Literal["dark", "bright"] = option("dark", "Whether protein is dark or bright.", group=INPUT)
    bytes: Signedness | None = option(None, BYTES_HELP, group=INPUT, automatic="as the files tell")
    out: FilePath | None = option(
        None, "The store to write.", group=OUTPUT, automatic="<micrographs>/boxnet2training/examples.zarr"
    )
    diameter: float | None = option(None, "Of the particle (required).", group=METHOD, unit="angstrom", gt=0, le=5000)
    pixel_size: float = option(8.0, "To work at.", group=METHOD, unit="angstrom", gt=0, le=100)
    important_weight: float = option(4.0, "Of important places; 1 is that of all others.", group=METHOD, ge=1, le=1000)
    border: float | None = option(
        None,
        "Width at the edges of the micrographs in which nobody picked, so that nothing is learnt there; 0: none.",
        group=METHOD,
        unit="pixels",
        automatic="in each micrograph, that in which there is no pick, unless chance can have left it empty",
        ge=0,
    )
    val_fraction: float = option(
        0.2, "Share of the micrographs to hold out, at least one; 0: none.", group=METHOD, ge=0, le=0.5
    )
    seed: int = option(0, "Decides which are held out.", group=METHOD, ge=0)
    preprocessing_ncpus: int | None = option(None, "Processes.", group=RESOURCES, automatic="all cores", ge=1)

    @property
    def folder(self) -> Path:
        """The store to write; Warp keeps training data in the same place."""
        assert self.micrographs is not None, "the settings require micrographs"
        return self.out or self.micrographs / "boxnet2training" / "examples.zarr"

    @model_validator(mode="after")
    def _micrographs_and_diameter(self, info: ValidationInfo) -> Self:
        if is_incomplete(info):
            return self
        if self.micrographs is None:
            raise ValueError("found no micrographs; name their folder: --micrographs DIR")
        if self.diameter is None:
            raise ValueError("found no diameter; add that of the particle in angstrom, for example --diameter 190")
        suffixes = [suffix for suffix in (self.important_suffix, self.uncertain_suffix) if suffix]
        if any("/" in suffix or "\0" in suffix for suffix in suffixes):
            raise ValueError("a suffix is the end of a file's name, without '/': <micrograph>_<suffix>.star")
        return self
