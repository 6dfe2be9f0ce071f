"""A short trial of a planned command, in a temporary place, from which the hours of the whole are worked out.

Preparation counts its processor seconds. Training and prediction keep all cores that they may use busy, or GPUs where
there are any, so theirs are hours on the clock times the number of these.
"""

import math
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from mwr_hpc.config.schema import PredictSettings, TrainSettings
from mwr_hpc.errors import StopRequested
from mwr_hpc.events import Emit, ShouldStop, ignore
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.volume import open_volume, read_box
from mwr_hpc.missing_wedge.cohort import write_cohort
from mwr_hpc.missing_wedge.correct import choose_sizes, correct_tomogram
from mwr_hpc.missing_wedge.entries import TomogramEntry
from mwr_hpc.numerics.tiling import plan_tiles
from mwr_hpc.pipeline.coordinator import train
from mwr_hpc.pipeline.environment import visible_gpus
from mwr_hpc.pipeline.plan import Plan, with_hours
from mwr_hpc.pipeline.prediction import read_models, read_tomograms
from mwr_hpc.pipeline.receipts import Receipt, ReceiptBook
from mwr_hpc.pipeline.starting import read_cohort
from mwr_hpc.run_directory import RunDirectory
from mwr_hpc.training.curves import read_curves
from mwr_hpc.training.hardware import available_threads
from mwr_hpc.training.model_file import read_description
from mwr_hpc.training.sampler import automatic_steps

FIGURE_SECONDS = 1.0
"""CPU seconds of drawing a tomogram before and after: slices of any tomogram come to the same few pixels."""

HOUR = 3600.0
STEPS = 3
"""Steps of an epoch of the trial; the second epoch counts, in the first the network is traced."""

CROPS = 8


class Measured(NamedTuple):
    """A plan with what a trial has measured of it, and the stop that ended the trial early, if any."""

    plan: Plan
    stop: StopRequested | None


def measured_train(settings: TrainSettings, plan: Plan, emit: Emit, should_stop: ShouldStop) -> Measured:
    """Train on a few sub-tomograms of the tomogram of middle size, and add the hours of the whole to a plan.

    The memory of training is what the trial needed. A trial that is stopped gives the hours of the stages it went
    through.
    """
    stop = None
    entries = read_cohort(settings).entries
    chosen = _middle(entries)
    with tempfile.TemporaryDirectory(prefix="mwr_hpc_plan_") as folder:
        path = Path(folder)
        write_cohort(path / "list.star", [chosen])
        nothing = ("input_dir", "subtomo_dir", "mask_dir", "group", "noise_dir", "pretrained_model", "continue_iter")
        trial = settings.model_copy(
            update=dict.fromkeys(nothing)
            | {"tomograms": path / "list.star", "run_dir": path / "run", "result_dir": path / "run" / "results"}
            | {"iterations": 2, "epochs": 2, "steps_per_epoch": STEPS, "ncube": min(CROPS, settings.ncube)}
            | {"ranks": 1, "preprocessing_ncpus": 1, "continue_training": None, "allow_missing_masks": True}
            | {"slurm": False, "in_allocation": False, "tilt_range": None, "flip_tilt": False}
        )
        try:
            train(trial, emit, should_stop)
        except StopRequested as stopped:
            stop = stopped
        run = RunDirectory(trial.run_dir, trial.result_dir)
        book = ReceiptBook(run.receipts)
        done = {
            stage: receipt
            for stage, name in (
                *(("convert", "convert"), ("extract", "extract"), ("pairs", "pairs_01"), ("pairs", "pairs_02")),
                ("predicted", "predicted_01"),
            )
            if (receipt := book.get(name, chosen.id)) is not None
        }
        trained = book.get("train", "02")
        curves = [*read_curves(run.curves(1)), *read_curves(run.curves(2))]
    rates = [curve["samples_per_second"] for curve in curves if curve["epoch"] > 1]
    hours = _hours(settings, entries, chosen, done, rates)
    if settings.ranks > 1 or trained is None:  # the trial's one rank works on the whole batch
        return Measured(with_hours(plan, hours), stop)
    planned = {one.stage: one.peak_memory for one in plan.stages}
    # Batches of training are as large as they will be; those of prediction may be larger than the trial's few crops.
    predicted = max(trained.peak_memory, planned["predicted"] if planned["predicted"] > planned["train"] else 0)
    return Measured(with_hours(plan, hours, {"train": trained.peak_memory, "predicted": predicted}), stop)


def _hours(
    settings: TrainSettings,
    entries: Sequence[TomogramEntry],
    chosen: TomogramEntry,
    done: Mapping[str, Receipt],
    rates: Sequence[float],
) -> dict[str, tuple[float, float]]:
    """Return the (CPU-, GPU-) hours of each stage of the whole that the trial went through.

    Parameters
    ----------
    settings, entries
        The planned training.
    chosen
        The tomogram of the trial.
    done
        The trial's receipts by stage.
    rates
        Samples per second of its epochs.
    """
    iterations = settings.iterations
    hours = {}
    if "convert" in done:
        voxels = sum(math.prod(entry.shape) for entry in entries) / math.prod(chosen.shape)
        hours["convert"] = (done["convert"].cpu_seconds * voxels / HOUR, 0.0)
    if "extract" in done:
        crops = len(entries) * settings.ncube / sum(done["extract"].figures.values())
        hours["extract"] = (done["extract"].cpu_seconds * crops / HOUR, 0.0)
        if "pairs" in done:
            hours["pairs"] = (done["pairs"].cpu_seconds * crops * iterations / HOUR, 0.0)
        if "predicted" in done:
            hours["predicted"] = _on_all(done["predicted"].seconds * crops * (iterations - 1))
    if rates:
        pairs = len(entries) * settings.ncube * settings.rotations
        steps = settings.steps_per_epoch or automatic_steps(
            pairs, settings.batch_size, settings.epochs, settings.max_samples
        )
        hours["train"] = _on_all(iterations * settings.epochs * steps * settings.batch_size / rates[-1])
    return hours


def measured_predict(settings: PredictSettings, plan: Plan, should_stop: ShouldStop) -> Measured:
    """Correct one tile of the tomogram of middle size twice, and add the hours of the whole to a plan.

    A trial of several models that is stopped takes those that it has not tried to be like the others.
    """
    entries = read_tomograms(settings, ignore).entries
    chosen = _middle(entries)
    seconds: list[float] = []
    stop = None
    models = read_models(settings)
    with tempfile.TemporaryDirectory(prefix="mwr_hpc_plan_") as folder:
        for model in models:
            if should_stop():
                stop = StopRequested(f"stopped after the trial of {len(seconds)} of {len(models)} models")
                break
            architecture = read_description(model.path)["architecture"]
            sizes = choose_sizes(settings.cube_size, settings.crop_size, architecture)
            plans = [plan_tiles(entry.shape, sizes.tile, sizes.core, 2 ** architecture["depth"]) for entry in entries]
            tile = _one_tile(chosen, plans[entries.index(chosen)].tile_shape, Path(folder))
            parameters = settings.model_dump(
                include={"cube_size", "crop_size", "keep_measured", "dtype", "contrast", "batch_size", "gpuID"}
            ) | {"tilt_range": model.tilt_range_for(chosen), "format": "mrc"}
            inputs = {"tomogram": tile, "model": model.path}
            for _ in range(2):  # the first time the network is traced
                started = time.perf_counter()
                correct_tomogram(inputs, parameters, Path(folder) / "corrected.mrc")
                spent = time.perf_counter() - started
            seconds.append(spent * sum(map(len, plans)))
    hours = {"correct": _on_all(sum(seconds) * len(models) / len(seconds))} if seconds else {}
    figures = {one.stage: one.units for one in plan.stages}["figure"]
    return Measured(with_hours(plan, hours | {"figure": (figures * FIGURE_SECONDS / HOUR, 0.0)}), stop)


def _one_tile(entry: TomogramEntry, shape: Sequence[int], folder: Path) -> Path:
    """Write the middle of a tomogram, no larger than a tile."""
    volume = open_volume(entry.path, entry.signedness)
    edges = [min(size, edge) for size, edge in zip(volume.shape, shape, strict=True)]
    z, y, x = ((size - edge) // 2 for size, edge in zip(volume.shape, edges, strict=True))
    block = read_box(volume, (slice(z, z + edges[0]), slice(y, y + edges[1]), slice(x, x + edges[2])))
    path = folder / "tile.mrc"
    with MrcWriter(path, block.shape, np.float32) as writer:
        writer.write(0, block.astype(np.float32))
    return path


def _middle(entries: Sequence[TomogramEntry]) -> TomogramEntry:
    return sorted(entries, key=lambda entry: math.prod(entry.shape))[len(entries) // 2]


def _on_all(seconds: float) -> tuple[float, float]:
    """Hours of all cores that one process uses, and of all GPUs."""
    return seconds * available_threads() / HOUR, seconds * len(visible_gpus()) / HOUR
