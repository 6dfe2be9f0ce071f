"""Options of picking particles, and of judging what was picked."""

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, ValidationInfo, field_validator, model_validator

from mwr_hpc.config.checks import check_one_place, check_share
from mwr_hpc.config.fields import Settings, is_incomplete, option
from mwr_hpc.config.values import BYTES_HELP, FilePath, split_words
from mwr_hpc.io.mrc_fields import Signedness

INPUT, OUTPUT, METHOD, RESOURCES, CLUSTER = "Input", "Output", "Method", "Resources", "Cluster"

FORMATS = ("star", "box", "cbox")


def _split_all(value: object) -> object:
    return [word for item in value for word in str(item).split(",")] if isinstance(value, list) else split_words(value)


def _known_formats(formats: tuple[str, ...]) -> tuple[str, ...]:
    if not formats or set(formats) - set(FORMATS):
        raise ValueError(f"expected some of {', '.join(FORMATS)}; for example star,box")
    return tuple(name for name in FORMATS if name == "star" or name in formats)


Formats = Annotated[tuple[str, ...], BeforeValidator(_split_all), AfterValidator(_known_formats)]
"""Kinds of files, in a fixed order; STAR is always among them, the lists are made of it."""


def _plain_name(suffix: str | None) -> str | None:
    if suffix is not None and not all(letter.isascii() and (letter.isalnum() or letter in "-_") for letter in suffix):
        raise ValueError("expected letters, digits, '-' and '_', as it becomes part of file names; for example MyNet")
    if suffix == "":
        raise ValueError("expected a name, found nothing; for example MyNet")
    return suffix


Suffix = Annotated[str, AfterValidator(_plain_name)]
"""What ends the names of files of one kind."""


class PickSettings(Settings):
    """Which micrographs to pick with which model, and by what rules."""

    command: ClassVar[str] = "boxnet pick"
    runs_network: ClassVar[bool] = True

    model: str | None = option(
        None, "Name of a model (see `mwr-hpc boxnet model list`), or a model file (.h5).", group=INPUT
    )
    micrographs: FilePath | None = option(
        None, "Folder of micrographs (.mrc, .tif).", group=INPUT, positional=True, must_exist="folder"
    )
    angpix: float | None = option(
        None, "Pixel size of the micrographs.", group=INPUT, unit="angstrom", automatic="from their headers", gt=0
    )
    contrast: Literal["dark", "bright"] = option(
        "dark", "Whether protein is dark or bright in the micrographs.", group=INPUT
    )
    limit: int | None = option(
        None, "Pick only so many micrographs, the first by name: for a look.", group=INPUT, automatic="all", ge=1
    )
    bytes: Signedness | None = option(None, BYTES_HELP, group=INPUT, automatic="as the files tell")
    out: FilePath | None = option(
        None, "Folder for matching/, mask/ and the lists of all.", group=OUTPUT, automatic="the folder of micrographs"
    )
    suffix: Suffix | None = option(
        None, "Ends the names of the files: matching/<micrograph>_<suffix>.star.", group=OUTPUT, automatic="the model's"
    )
    formats: Formats = option(("star",), "Of the files: star, always, and box (EMAN) or cbox (crYOLO).", group=OUTPUT)
    diameter: float | None = option(
        None, "Of the particles (required).", group=METHOD, unit="angstrom", aliases=("particle_diameter",), gt=0
    )
    threshold: float | None = option(
        None,
        "Least score of a particle, its mean probability where it would be labelled; another one needs no network.",
        group=METHOD,
        automatic="the model's, which had the best F1 in its training",
        ge=0,
        lt=1,
    )
    min_distance: float | None = option(
        None,
        "Of two particles nearer than this the stronger stays.",
        group=METHOD,
        unit="angstrom",
        automatic="half the diameter",
        ge=0,
    )
    border: float = option(
        0.0, "Particles nearer to an edge of the micrograph are left out.", group=METHOD, unit="pixels", ge=0
    )
    mask_distance: float = option(
        0.0,
        "Particles are so far from contamination, beyond half their diameter.",
        group=METHOD,
        unit="angstrom",
        ge=0,
    )
    pixel_size: float | None = option(
        None, "To work at.", group=METHOD, unit="angstrom", automatic="as in the model's training", gt=0
    )
    processes: int | None = option(
        None,
        "Micrographs at once, each on one core; on SLURM the site file says.",
        group=RESOURCES,
        automatic="all cores; one where there is a GPU",
        ge=1,
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

    @property
    def folder(self) -> Path:
        """Where files go."""
        assert self.micrographs is not None, "the settings require micrographs"
        return self.out or self.micrographs

    @field_validator("share")
    @classmethod
    def _share_of_a_whole(cls, share: str | None) -> str | None:
        return check_share(share)

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        check_one_place({"--slurm": self.slurm, "--in_allocation": self.in_allocation, "--share": self.share})
        return self

    @model_validator(mode="after")
    def _what_is_required(self, info: ValidationInfo) -> Self:
        if is_incomplete(info):
            return self
        for name, advice in {
            "model": "--model BoxNetGeneric",
            "micrographs": "--micrographs FOLDER",
            "diameter": "the particles' diameter in angstrom, --diameter 190",
        }.items():
            if getattr(self, name) is None:
                raise ValueError(f"found no {name}; add {advice}")
        return self


class EvaluatePicksSettings(Settings):
    """Picks to judge, and what to judge them by."""

    command: ClassVar[str] = "boxnet evaluate"

    picked: FilePath | None = option(
        None, "Folder that `boxnet pick` wrote to (its --out).", group=INPUT, positional=True, must_exist="folder"
    )
    truth: FilePath | None = option(
        None,
        "Folder of true positions, <micrograph>.star or <micrograph>_<suffix>.star; or one STAR file of all. Also "
        ".box, .cbox, and tables of Topaz (.txt).",
        group=INPUT,
        must_exist="file or folder",
    )
    suffix: Suffix | None = option(
        None, "Which picks, as for `boxnet pick`.", group=INPUT, automatic="the only one there is"
    )
    bytes: Signedness | None = option(None, BYTES_HELP, group=INPUT, automatic="as when picking")
    tolerance: float | None = option(
        None,
        "Largest distance of a pick from the truth.",
        group=METHOD,
        unit="angstrom",
        automatic="a quarter of the diameter",
        gt=0,
    )
    border: float | None = option(
        None,
        "Truths and picks nearer to an edge of the micrograph are left out.",
        group=METHOD,
        unit="pixels",
        automatic="as when picking",
        ge=0,
    )
    threshold: float | None = option(
        None, "Least score of a pick.", group=METHOD, automatic="as when picking", ge=0, lt=1
    )
    baseline: bool = option(
        False, "Also judge a difference-of-Gaussians picker, at the threshold that suits it best.", group=METHOD
    )
    allow_training_micrographs: bool = option(
        False, "Judge also by micrographs that the model was trained on: says nothing of others.", group=METHOD
    )

    @model_validator(mode="after")
    def _what_is_required(self, info: ValidationInfo) -> Self:
        if not is_incomplete(info):
            if self.picked is None:
                raise ValueError("found no picks; name the folder that `boxnet pick` wrote to")
            if self.truth is None:
                raise ValueError("found no truth; add --truth FOLDER with the true positions")
        return self
