"""Stage: re-trains a picking network on new examples, diluted with old ones, or trains one from scratch."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mwr_hpc import __version__
from mwr_hpc.boxnet.corpus import Examples, open_corpus
from mwr_hpc.boxnet.examples import ExampleStore
from mwr_hpc.boxnet.input_pipeline import (
    NEW,
    OLD,
    Mix,
    MixedOrder,
    PatchSource,
    chosen_samples,
    class_shares,
)
from mwr_hpc.boxnet.judging import PickJudge
from mwr_hpc.boxnet.labels import BACKGROUND, CLASSES, PARTICLE
from mwr_hpc.boxnet.loss import background_weight, label_loss
from mwr_hpc.boxnet.masks import knows_masks, relabelling
from mwr_hpc.boxnet.network import GROUP, Architecture, build_network, initialise
from mwr_hpc.boxnet.pick import Image, contamination_share, loaded
from mwr_hpc.boxnet.registry import METHOD, read_picking_model
from mwr_hpc.errors import InputError
from mwr_hpc.events import Emit, Notice, ShouldStop
from mwr_hpc.training.checkpoint import CheckpointFolder, config_hash
from mwr_hpc.training.communicator import Communicator
from mwr_hpc.training.engine import Engine
from mwr_hpc.training.framework import configure
from mwr_hpc.training.hardware import resolve_precision
from mwr_hpc.training.loop import run_training
from mwr_hpc.training.model_file import (
    Description,
    Weights,
    checksum,
    named_weights,
    set_weights,
    write_model,
)
from mwr_hpc.training.rates import Geometric
from mwr_hpc.training.schedule import Schedule, mean_loss

WEIGHT_DECAY = 5e-4

JUDGED_PATCHES = 48
"""Patches of each kind, training and held out, whose loss is reported after every epoch: the same ones every time, all
unchanged and weighed alike. Of 16 patches one that is mostly contamination can be half of the loss, and what the curve
shows is that patch (docs/boxnet.md)."""

DESCRIBED = ("name", "training_set", "epochs", "batch_size", "patch", "lr_start", "lr_end", "mix", "freeze_bn", "seed")
"""Parameters that the model file tells."""

DEFAULT_THRESHOLD = 0.5
"""Of a model that finds nothing in the held-out micrographs, or has none."""


def retrain(
    inputs: Mapping[str, Any],
    parameters: Mapping[str, Any],
    output: Path,
    *,
    checkpoint_folder: Path,
    curves_path: Path,
    communicator: Communicator,
    emit: Emit,
    should_stop: ShouldStop,
) -> dict[str, Any]:
    """Train a picking network, or go on with it where its checkpoints end.

    Parameters
    ----------
    inputs
        "examples": a store of examples; "corpus": another, or a folder of Warp's training TIFFs, or None; "parent":
        the model to start from, or None.
    parameters
        The options of ``boxnet retrain`` by name (epochs, batch_size, patch, lr_start, lr_end, freeze_bn, train_mask,
        allow_missing_masks, seed, precision, deterministic; width, depth and blocks of a network from scratch), "mix"
        (batches of new and of old examples), "name" and "training_set" (what the model file tells of its data);
        "gpuID" where devices were chosen.
    output
        The model file to write (by rank 0).
    checkpoint_folder, curves_path
        Where the training keeps its state, and the curves.
    communicator
        The other ranks.
    emit, should_stop
        The observer, and the question whether to stop.

    Returns
    -------
    dict
        Losses and average precision of the last epoch, and the threshold.

    Raises
    ------
    StopRequested, StageError, ConfigError
        As `run_training` does.
    InputError
        There is nothing to learn from the examples, or the parent does not fit.
    """
    new: Examples = ExampleStore(inputs["examples"])
    old: Examples | None = open_corpus(inputs["corpus"]) if inputs.get("corpus") is not None else None
    training = Training(new, old, inputs.get("parent"), parameters, communicator, emit)
    return training.run(output, checkpoint_folder, curves_path, should_stop)


@dataclass(frozen=True)
class Training:
    """One training, with its examples wherever they come from.

    Attributes
    ----------
    new, old
        The examples; no old ones when None.
    parent
        The model to start from; None: from scratch.
    parameters, communicator, emit
        As for `retrain`.
    """

    new: Examples
    old: Examples | None
    parent: Path | None
    parameters: Mapping[str, Any]
    communicator: Communicator
    emit: Emit

    def run(self, output: Path, checkpoint_folder: Path, curves_path: Path, should_stop: ShouldStop) -> dict[str, Any]:
        """Train and write the model; see `retrain`."""
        parameters = self.parameters
        configure(parameters.get("gpuID"), parameters["deterministic"])
        precision = resolve_precision(parameters["precision"])
        inherited = read_picking_model(self.parent) if self.parent is not None else None
        architecture = _architecture(inherited, parameters)
        masks = knows_masks(inherited[0] if inherited else {}, self.new, self.old, parameters["train_mask"])
        source, shares = self._source(masks, inherited)
        order = self._order()
        engine = _engine(
            architecture,
            precision,
            parameters["freeze_bn"],
            (parameters["lr_start"], parameters["lr_end"], parameters["epochs"] * order.steps),
            self.communicator,
        )
        self._start(engine, inherited, shares * [source.background_weight, 1, 1])
        picks = PickJudge(engine, architecture, source.background_weight, self.new)
        identity = self._identity(engine, source, precision)
        curves = run_training(
            engine,
            Schedule(
                order,
                parameters["epochs"],
                chosen_samples(self.new.held_out, NEW, JUDGED_PATCHES, parameters["seed"]),
                judge=lambda: self._losses(engine, source) | picks.figures(),
                smaller="--patch or --width",
                slower="--lr-start",
            ),
            source,
            CheckpointFolder(checkpoint_folder),
            identity,
            curves_path=curves_path,
            emit=self.emit,
            should_stop=should_stop,
        )
        engine.finish()
        threshold = picks.threshold()
        if threshold is None:
            self.emit(
                Notice(
                    "no held-out particle is found, or none is held out, so no threshold can be told from them; "
                    f"it is {DEFAULT_THRESHOLD}",
                    warning=True,
                )
            )
        figures = {**curves[-1], "threshold": DEFAULT_THRESHOLD if threshold is None else threshold}
        if self.communicator.rank == 0:
            description = {
                "method": METHOD,
                "architecture": architecture.to_record(),
                "precision": precision,
                "program": f"mwr_hpc {__version__}",
                "parent": inherited[0].get("name") if inherited else None,
                "masks": masks,
                "pixel_size": self.new.pixel_size,
                "background_weight": source.background_weight,
                "threshold": figures["threshold"],
                "figures": {name: value for name, value in figures.items() if name not in ("threshold", *TIMES)},
                **{name: parameters[name] for name in DESCRIBED},
            }
            write_model(output, description, named_weights(engine.model))
        return {**figures, "masks": masks, "precision": precision}

    def _believed(
        self, inherited: tuple[Description, Weights] | None, background_weight: float
    ) -> Callable[[Image], Image] | None:
        """What the parent says of contamination in an image, where it knows any, at this training's class weight."""
        if inherited is None or not inherited[0]["masks"]:
            return None
        assert self.parent is not None, "what is inherited comes from it"
        labeller = loaded(self.parent, self.parent.stat().st_mtime_ns)
        ratio = background_weight / labeller.background_weight
        return lambda image: contamination_share(labeller.probabilities(image), ratio)

    def _source(
        self, masks: bool, inherited: tuple[Description, Weights] | None
    ) -> tuple[PatchSource, NDArray[np.float64]]:
        parameters, mix = self.parameters, self._mix()
        sets = {NEW: (self.new, relabelling(masks, parameters["train_mask"]))}
        if self.old is not None:
            sets[OLD] = (self.old, relabelling(masks, None))
        shares = {NEW: mix.new / (mix.new + mix.old), OLD: mix.old / (mix.new + mix.old)}
        if not self.new.training:
            raise InputError("no micrograph to train on: all are held out; lower --val-fraction, or add micrographs")
        counted = class_shares(sets, shares)
        if not counted[PARTICLE] or not counted[BACKGROUND]:
            missing = CLASSES[BACKGROUND if counted[PARTICLE] else PARTICLE]
            raise InputError(
                f"no pixel of the examples that counts is {missing}: all such pixels have weight 0, or there are none. "
                "Look at the positive, uncertain and mask files that the examples were prepared from"
            )
        weight = background_weight(counted[PARTICLE], counted[BACKGROUND])
        believed = self._believed(inherited, weight)
        return PatchSource(sets, parameters["patch"], parameters["seed"], weight, believed), counted

    def _mix(self) -> Mix:
        new, old = self.parameters["mix"]
        return Mix(new, old if self.old is not None else 0)

    def _order(self) -> MixedOrder:
        old = self.old.training if self.old is not None else ()
        return MixedOrder(self.new.training, old, self._mix(), self.parameters["batch_size"], self.parameters["seed"])

    def _start(
        self, engine: Engine, inherited: tuple[Description, Weights] | None, shares: NDArray[np.float64]
    ) -> None:
        engine.forget()
        if inherited is None:
            initialise(engine.model, self.parameters["seed"], shares.tolist())
        else:
            assert self.parent is not None, "what is inherited comes from it"
            set_weights(engine.model, inherited[1], self.parent)

    def _losses(self, engine: Engine, source: PatchSource) -> dict[str, float]:
        """Losses of the same patches every time, unchanged: training beside held out, and new beside old."""
        names = {"training_loss": (self.new.training, NEW)}
        if self.old is not None:
            names |= {"old_training_loss": (self.old.training, OLD), "old_validation_loss": (self.old.held_out, OLD)}
        losses = {}
        for name, (micrographs, kind) in names.items():
            samples = chosen_samples(micrographs, kind, JUDGED_PATCHES, self.parameters["seed"])
            loss = mean_loss(engine, source, samples, self.parameters["batch_size"] // self.communicator.size)
            if loss is not None:
                losses[name] = loss
        return losses

    def _identity(self, engine: Engine, source: PatchSource, precision: str) -> str:
        """What a checkpoint must agree with: settings, where the training starts, and the examples."""
        weights, _ = engine.state()
        settled = {name: value for name, value in self.parameters.items() if name != "gpuID"} | {"precision": precision}
        names = [list(examples.training) + list(examples.held_out) for examples, _ in source.sets.values()]
        first = self.new.read(self.new.training[0])
        images: list[NDArray[Any]] = [first.image, first.labels, first.weights]
        return config_hash(settled, names, source.background_weight, checksum("", weights, images))


@lru_cache(maxsize=1)
def _engine(
    architecture: Architecture,
    precision: Literal["float32", "bfloat16"],
    frozen: bool,
    rate: tuple[float, float, int],
    communicator: Communicator,
) -> Engine:
    """Kept for a training that goes on in the same process; whatever it remembers is set anew."""
    return Engine(
        build_network(architecture, precision, frozen),
        label_loss,
        Geometric(*rate),
        communicator,
        group=GROUP,
        weight_decay=WEIGHT_DECAY,
        moving_statistics=not frozen,
    )


TIMES = ("samples_per_second", "input_wait", "compute", "allreduce")
"""Figures of an epoch that are not the same every time, and so do not belong in a model."""


def _architecture(inherited: tuple[Description, Weights] | None, parameters: Mapping[str, Any]) -> Architecture:
    if inherited is not None:
        return Architecture.from_record(inherited[0]["architecture"])
    return Architecture(**{name: parameters[name] for name in ("width", "depth", "blocks")})
