"""Stage: one iteration's training, from the pairs of all tomograms to a model file."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mwr_hpc import __version__
from mwr_hpc.errors import InputError
from mwr_hpc.events import Emit, Notice, ShouldStop
from mwr_hpc.missing_wedge.input_pipeline import NoiseVolumes, PairSource
from mwr_hpc.missing_wedge.loss import error_loss
from mwr_hpc.missing_wedge.network import METHOD, Architecture, build_network, initialise
from mwr_hpc.missing_wedge.pair_reader import PairDataset
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.noise import noise_level_at
from mwr_hpc.training.checkpoint import Checkpoint, CheckpointFolder, config_hash
from mwr_hpc.training.communicator import Communicator
from mwr_hpc.training.engine import Engine
from mwr_hpc.training.framework import configure
from mwr_hpc.training.hardware import check_kernel, resolve_precision
from mwr_hpc.training.loop import run_training
from mwr_hpc.training.model_file import checksum, named_weights, read_model, set_weights, write_model
from mwr_hpc.training.rates import WarmUp
from mwr_hpc.training.sampler import SampleId, Sampler, automatic_steps
from mwr_hpc.training.schedule import Schedule

VALIDATION_SHARE = 0.1
"""Held-out samples whose loss is told after an epoch, as a share of the epoch's training samples: they cost 3 %."""

DESCRIBED = (
    *("iteration", "training_set", "cube_size", "crop_size"),
    *("epochs", "batch_size", "learning_rate", "loss", "seed"),
)
"""Parameters that the model file tells."""

TRAINING = "training"
"""Where the model file tells which training it is of, as its checkpoints do."""


def train_iteration(
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
    """Train the network of one iteration, or go on with it where its checkpoints end.

    Parameters
    ----------
    inputs
        "pairs": {id: group that `make_pairs` wrote}; "previous_model" and "previous_checkpoint" of the iteration
        before, or None; "pretrained": a model to start the first iteration from, or None; "noise": a folder, or None.
    parameters
        The training options by name (filter_base, unet_depth, ..., deterministic), "iteration", "held_out_tomograms"
        (ids that only validate) and "training_set" (what the model file tells of its data); "noise_bytes", "signed"
        or "unsigned", where noise volumes do not tell how to read them; "gpuID" where devices were chosen.
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
        Losses of the last epoch, samples trained on, and the speed.

    Raises
    ------
    StopRequested, StageError, ConfigError
        As `run_training` does.
    InputError
        There is nothing to train on, or a model to start from does not fit.
    """
    configure(parameters.get("gpuID"), parameters["deterministic"])
    pairs = PairDataset(inputs["pairs"], parameters["held_out_tomograms"])
    if not pairs.training:
        raise InputError("no training pairs: every sub-tomogram is held out; raise --ncube or add tomograms")
    architecture = architecture_of(parameters)
    check_kernel(parameters["precision"], architecture.kernel)
    precision = resolve_precision(parameters["precision"], architecture.kernel)
    engine = _engine(architecture, precision, parameters["loss"], parameters["learning_rate"], communicator)
    network = engine.model
    _start_from(engine, architecture, inputs, parameters, emit)
    schedule = _schedule(pairs, parameters)
    identity = _identity(engine, pairs, parameters, precision)
    curves = run_training(
        engine,
        schedule,
        _source(pairs, inputs, parameters),
        CheckpointFolder(checkpoint_folder),
        identity,
        curves_path=curves_path,
        emit=emit,
        should_stop=should_stop,
    )
    engine.finish()
    if communicator.rank == 0:
        description = {
            "method": METHOD,
            "architecture": architecture.to_record(),
            "precision": precision,
            "program": f"mwr_hpc {__version__}",
            TRAINING: identity,
            **{name: parameters[name] for name in DESCRIBED},
        }
        write_model(output, description, named_weights(network))
    return {**curves[-1], "samples": schedule.steps * parameters["batch_size"], "precision": precision}


def architecture_of(parameters: Mapping[str, Any]) -> Architecture:
    """The network that the options ask for."""
    return Architecture(
        filter_base=parameters["filter_base"],
        depth=parameters["unet_depth"],
        convs_per_depth=parameters["convs_per_depth"],
        kernel=parameters["kernel"],
        dropout=parameters["drop_out"],
        batch_normalization=parameters["batch_normalization"],
    )


@lru_cache(maxsize=1)
def _engine(
    architecture: Architecture,
    precision: Literal["float32", "bfloat16"],
    loss: str,
    learning_rate: float,
    communicator: Communicator,
) -> Engine:
    """Kept from one iteration to the next, which sets all that it remembers: tracing its graph takes seconds."""
    return Engine(build_network(architecture, precision), error_loss(loss), WarmUp(learning_rate), communicator)


def _start_from(
    engine: Engine,
    architecture: Architecture,
    inputs: Mapping[str, Any],
    parameters: Mapping[str, Any],
    emit: Emit,
) -> None:
    """Take weights from the iteration before or a pretrained model, else draw them; and the optimiser's state too."""
    initialise(engine.model, parameters["seed"])
    engine.forget()
    start = inputs.get("previous_model") or inputs.get("pretrained")
    if start is None:
        return
    description, weights = read_model(start, METHOD, architecture.to_record())
    set_weights(engine.model, weights, start)
    folder = inputs.get("previous_checkpoint")
    if folder is None:
        return
    # As in `run_training`, rank 0 reads and decides: a file that one rank sees late must not part the ranks.
    last = _end_of(description, CheckpointFolder(folder), emit) if engine.communicator.rank == 0 else None
    if engine.communicator.broadcast(np.array([last is not None], np.uint8))[0]:
        engine.restore(*((last.weights, last.optimiser) if last else engine.state()))
    else:
        emit(Notice(f"{folder}: no state of the optimiser for {start}; it starts afresh, as in a first iteration"))


def _end_of(description: Mapping[str, Any], folder: CheckpointFolder, emit: Emit) -> Checkpoint | None:
    """The last state of the training that a model came from, None when it is not there."""
    training = description.get(TRAINING)
    last = folder.newest(training, emit) if training is not None else None
    return last if last is not None and last.step == last.steps else None


def _schedule(pairs: PairDataset, parameters: Mapping[str, Any]) -> Schedule:
    batch_size, epochs = parameters["batch_size"], parameters["epochs"]
    steps = parameters["steps_per_epoch"] or automatic_steps(
        len(pairs.training), batch_size, epochs, parameters["max_samples"]
    )
    sampler = Sampler(pairs.training, parameters["seed"], parameters["iteration"], batch_size, steps)
    count = min(len(pairs.held_out), max(batch_size, round(VALIDATION_SHARE * steps * batch_size)))
    order = keyed_generator(parameters["seed"], "validation samples").permutation(len(pairs.held_out))[:count]
    validation: Sequence[SampleId] = [pairs.held_out[index] for index in sorted(order)]
    return Schedule(sampler, epochs, validation)


def _source(pairs: PairDataset, inputs: Mapping[str, Any], parameters: Mapping[str, Any]) -> PairSource:
    level = noise_level_at(
        *(parameters[name] for name in ("iteration", "noise_level", "noise_start_iter", "noise_pause"))
    )
    folder = inputs.get("noise")
    noise = None
    if folder is not None and level > 0:
        noise = NoiseVolumes(folder, parameters["cube_size"], parameters.get("noise_bytes"))
    return PairSource(pairs, parameters["seed"], parameters["iteration"], noise, level)


def _identity(engine: Engine, pairs: PairDataset, parameters: Mapping[str, Any], precision: str) -> str:
    """What a checkpoint must agree with: settings, where the training starts, and a cube of each tomogram."""
    first = {sample.tomogram: sample for sample in reversed([*pairs.training, *pairs.held_out])}
    cubes = [pairs.read(sample)[1] for _, sample in sorted(first.items())]
    weights, optimiser = engine.state()
    settled = {name: value for name, value in parameters.items() if name != "gpuID"} | {"precision": precision}
    return config_hash(settled, len(pairs.training), checksum("", weights, optimiser, cubes))
