"""Options of teaching a particle picker."""

import re
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, ValidationInfo, field_validator, model_validator

from mwr_hpc.config.checks import check_one_place
from mwr_hpc.config.fields import Settings, is_incomplete, option
from mwr_hpc.config.values import DeviceIndices, FilePath, absolute_path

INPUT, METHOD, TRAINING, RUN, RESOURCES = "Input", "Method", "Training", "Run", "Resources"
CLUSTER = "Cluster"

SCRATCH = "scratch"
"""The parent of a network without one."""

GENERIC, NONE = "generic", "none"
"""Words for a corpus: the examples behind the generic model, and none at all."""


def _plain_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError("a model's name is made of letters (A to Z), digits, '-' and '_'; for example MyNet-2")
    return name


ModelName = Annotated[str, AfterValidator(_plain_name)]
"""What a new model is called."""


def multiple_of_four(width: int) -> int:
    """Refuse a number of channels that is no multiple of 4."""
    if width % 4:
        raise ValueError(f"not a multiple of 4; use {width // 4 * 4 or 4} or {width // 4 * 4 + 4}")
    return width


def run_of(run_dir: object, info: ValidationInfo) -> object:
    """The folder that is asked for, else one named by the model."""
    return Path("boxnet_run") / (info.data.get("name") or "NAME") if run_dir is None else run_dir


class RetrainSettings(Settings):
    """What a picking network learns from, and how."""

    command: ClassVar[str] = "boxnet retrain"
    runs_network: ClassVar[bool] = True

    parent: str | None = option(
        None,
        "Model to start from, by name (mwr-hpc boxnet model list) or file; 'scratch': none (required).",
        group=INPUT,
        unit="model",
    )
    name: ModelName | None = option(None, "Of the new model (required).", group=INPUT, unit="name")
    examples: FilePath | None = option(
        None,
        "Your examples, as `boxnet examples prepare` made them (required).",
        group=INPUT,
        must_exist="folder",
    )
    corpus: str = option(
        GENERIC,
        "Other examples that the new ones are diluted with: a store of examples, a folder of Warp's training TIFFs, "
        "'generic' (those behind BoxNetGeneric) or 'none'.",
        group=INPUT,
        unit="path",
    )
    mix: str = option(
        "1:1", "Batches of new examples to batches of the corpus, in turns.", group=METHOD, unit="new:old"
    )
    train_mask: bool | None = option(
        None,
        "Learn contamination from the masks of the new examples. True: each micrograph must have one. False: masks are "
        "not used.",
        group=METHOD,
        automatic="from the masks that there are",
    )
    allow_missing_masks: bool = option(
        False,
        "With --train_mask: the background of micrographs without a mask weighs 0, instead of an error.",
        group=METHOD,
    )
    freeze_bn: bool | None = option(
        None,
        "Normalise as the parent does, instead of by each batch: batches of new and old examples differ, and what is "
        "trained is then what picks.",
        group=METHOD,
        automatic="True with a parent, False from scratch",
    )
    width: int = option(
        32,
        "Channels at half the resolution, a multiple of 4; from scratch only.",
        group=METHOD,
        aliases=("filters",),
        ge=4,
    )
    depth: int = option(3, "How often the image is halved; from scratch only.", group=METHOD, ge=1, le=5)
    blocks: int = option(1, "Residual blocks of each level; from scratch only.", group=METHOD, ge=1, le=4)

    epochs: int = option(
        50, "Of 20 patches from each new micrograph and as many from the corpus.", group=TRAINING, ge=1
    )
    batch_size: int = option(8, "Patches per optimiser step, all of one kind.", group=TRAINING, ge=2)
    patch: int | None = option(
        None,
        "Edge of the patches; an eighth at each border counts a tenth.",
        group=TRAINING,
        unit="pixels",
        automatic="256, on GPUs 512",
        ge=32,
    )
    lr_start: float = option(
        None,
        "Learning rate of Adam in the first step.",
        group=TRAINING,
        automatic="5e-4, from scratch 2e-3",
        gt=0,
    )
    lr_end: float = option(
        None,
        "Learning rate in the last step; it falls by the same factor every step.",
        group=TRAINING,
        automatic="1e-4, from scratch 3e-4",
        gt=0,
    )
    seed: int = option(0, "Of all random numbers.", group=TRAINING, ge=0)
    deterministic: bool | None = option(
        None, "Give the same weights bit for bit when run again.", group=TRAINING, automatic="True on CPU"
    )

    run_dir: FilePath = option(
        None,
        "Folder for checkpoints and curves; give the same one to go on.",
        group=RUN,
        automatic="boxnet_run/NAME",
        may_change=True,
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
    slurm: bool = option(
        False,
        "Train in a job of SLURM, which the site file describes; this process only starts and watches it.",
        group=CLUSTER,
        may_change=True,
    )
    in_allocation: bool = option(
        False, "Train on all nodes of the SLURM job that this process runs in.", group=CLUSTER, may_change=True
    )

    @property
    def from_scratch(self) -> bool:
        """Whether there is no parent."""
        return self.parent == SCRATCH

    @property
    def ratio(self) -> tuple[int, int]:
        """`mix` as numbers; no old ones without a corpus."""
        new, old = (int(part) for part in self.mix.split(":"))
        return (new, old if self.corpus != NONE else 0)

    @field_validator("corpus")
    @classmethod
    def _corpus_is_a_word_or_a_path(cls, corpus: str) -> str:
        if corpus.strip().lower() in (GENERIC, NONE):
            return corpus.strip().lower()
        if not corpus.strip():
            raise ValueError("expected a folder, 'generic' or 'none'; found nothing")
        return str(absolute_path(Path(corpus)))

    @field_validator("mix")
    @classmethod
    def _mix_is_a_ratio(cls, mix: str) -> str:
        if not re.fullmatch(r"[1-9]\d?:\d\d?", mix):
            raise ValueError("expected batches of new and of old examples, NEW:OLD, for example 1:1 or 1:3")
        return mix

    @field_validator("width")
    @classmethod
    def _width_is_a_multiple_of_four(cls, width: int) -> int:
        return multiple_of_four(width)

    @field_validator("freeze_bn", mode="before")
    @classmethod
    def _frozen_with_a_parent(cls, freeze_bn: object, info: ValidationInfo) -> object:
        return info.data.get("parent") != SCRATCH if freeze_bn is None else freeze_bn

    @field_validator("lr_start", mode="before")
    @classmethod
    def _start_by_parent(cls, lr_start: object, info: ValidationInfo) -> object:
        return (2e-3 if info.data.get("parent") == SCRATCH else 5e-4) if lr_start is None else lr_start

    @field_validator("lr_end", mode="before")
    @classmethod
    def _end_by_parent(cls, lr_end: object, info: ValidationInfo) -> object:
        return (3e-4 if info.data.get("parent") == SCRATCH else 1e-4) if lr_end is None else lr_end

    @field_validator("run_dir", mode="before")
    @classmethod
    def _run_by_name(cls, run_dir: object, info: ValidationInfo) -> object:
        return run_of(run_dir, info)

    @field_validator("ranks", mode="before")
    @classmethod
    def _one_rank_per_device(cls, ranks: object, info: ValidationInfo) -> object:
        return len(info.data.get("gpuID") or (0,)) if ranks is None else ranks

    @model_validator(mode="after")
    def _rate_falls(self) -> Self:
        if self.lr_end > self.lr_start:
            raise ValueError(
                f"--lr_end {self.lr_end:g} is above --lr_start {self.lr_start:g}; the rate falls during the training"
            )
        return self

    @model_validator(mode="after")
    def _one_place(self) -> Self:
        check_one_place({"--slurm": self.slurm, "--in_allocation": self.in_allocation})
        return self

    @model_validator(mode="after")
    def _what_is_required(self, info: ValidationInfo) -> Self:
        if is_incomplete(info):
            return self
        for name, advice in {
            "parent": "--parent BoxNetGeneric, or --parent scratch for a network that knows nothing",
            "name": "--name with a name for the new model",
            "examples": "--examples STORE, as made by mwr-hpc boxnet examples prepare",
        }.items():
            if getattr(self, name) is None:
                raise ValueError(f"found no {name}; add {advice}")
        if self.freeze_bn and self.from_scratch:
            raise ValueError("--freeze_bn with --parent scratch: nothing is known yet to normalise by; leave it out")
        return self
