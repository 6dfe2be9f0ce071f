"""``mwr-hpc plan train``: what a training will make and need, before anything runs.

The whole command is planned, as if nothing of it had been done yet, on this host and with sound tomograms.
"""

import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from mwr_hpc.cluster.pool import available_cores
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.errors import InputError
from mwr_hpc.io.volume import Volume, open_volume, read_sections
from mwr_hpc.missing_wedge.entries import TomogramEntry
from mwr_hpc.missing_wedge.extract import draw_centres
from mwr_hpc.missing_wedge.mask import load_mask
from mwr_hpc.numerics.padding import constant_borders
from mwr_hpc.numerics.rotation import turned_regions
from mwr_hpc.pipeline import plan_memory as memory
from mwr_hpc.pipeline import plan_sizes as sizes
from mwr_hpc.pipeline.coordinator import KEPT_ITERATIONS
from mwr_hpc.pipeline.plan_sizes import NetworkSize, Size, total
from mwr_hpc.pipeline.sizing import size_in_words
from mwr_hpc.pipeline.starting import read_cohort
from mwr_hpc.pipeline.training_units import COHORT_WITH_WHOLE_TOMOGRAMS_HELD_OUT
from mwr_hpc.printable import printable
from mwr_hpc.run_directory import RunDirectory
from mwr_hpc.training.hardware import resolve_precision

LIMIT_OF_PROBE = 64
"""Largest crop for which the distinct wedges are counted: their number does not depend on the size."""


@dataclass(frozen=True)
class StagePlan:
    """One stage.

    Attributes
    ----------
    units
        Units of work, over all iterations.
    files, bytes
        Written by all of them, later removed ones too.
    peak_memory
        Of the process that does the most demanding unit, in bytes.
    cpu_hours, gpu_hours
        Of all units; None where nothing was measured.
    """

    stage: str
    units: int
    files: int
    bytes: int
    peak_memory: int
    cpu_hours: float | None = None
    gpu_hours: float | None = None


@dataclass(frozen=True)
class Plan:
    """What a command will make and need.

    Attributes
    ----------
    folder
        Where it writes.
    problems
        The tomograms that it will leave out, and why.
    left, peak
        Files and bytes at the end, and when they are most.
    workers
        Processes for preparation, beside the one that coordinates, trains and predicts.
    compression
        By dtype, compressed bytes over bytes as found in samples of the tomograms, level by level.
    free_bytes
        On the disk of `folder`.
    size
        Of the training, in words; None where it has no name.
    """

    command: str
    folder: Path
    tomograms: int
    problems: dict[str, str]
    stages: list[StagePlan]
    left: Size
    peak: Size
    workers: int
    compression: dict[str, list[float]]
    free_bytes: int
    size: str | None = None

    @property
    def peak_memory(self) -> int:
        """Of all processes of this host together, in bytes."""
        prepared = [one.peak_memory for one in self.stages if one.stage in ("convert", "extract", "pairs")]
        others = [one.peak_memory for one in self.stages if one.stage not in ("convert", "extract", "pairs")]
        return self.workers * max(prepared, default=0) + max(others, default=0)

    def to_record(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        return asdict(self) | {"folder": str(self.folder), "peak_memory": self.peak_memory}


@dataclass(frozen=True)
class _Prepared:
    """What the preparation of one tomogram will make."""

    entry: TomogramEntry
    crops: int
    wedges: int


def plan_train(settings: TrainSettings) -> Plan:
    """Plan a training.

    Raises
    ------
    InputError
        As the training would: no usable tomogram, or a mask that is missing.
    """
    cohort = read_cohort(settings)
    return plan_cohort(settings, cohort.entries, cohort.problems)


def plan_cohort(settings: TrainSettings, entries: Sequence[TomogramEntry], problems: Mapping[str, str]) -> Plan:
    """Plan a training on these tomograms, whose headers are sound.

    Raises
    ------
    InputError
        None of them can be used.
    """
    found = dict(problems)
    prepared = list(_prepared(settings, entries, found))
    if not prepared:
        raise InputError("no tomogram can be used:\n" + "\n".join(map(printable, found.values())))
    ratios = sizes.sampled_ratios([one.entry for one in prepared])
    network = NetworkSize.of(_architecture(settings))
    workers = min(settings.preprocessing_ncpus or available_cores(), len(entries))
    count, iterations = len(prepared), settings.iterations
    convert = total(_converted(open_volume(one.entry.path, one.entry.signedness), ratios) for one in prepared)
    extract = total(sizes.crops(one.crops, settings.crop_size) for one in prepared)
    pairs = total(sizes.pairs(one.crops, one.wedges, settings.cube_size, settings.rotations) for one in prepared)
    predicted = total(sizes.predictions(one.crops, settings.crop_size) for one in prepared)
    checkpoints = network.checkpoints(settings.epochs)
    peaks = _training_memory(settings, prepared, network)
    stages = [
        StagePlan("convert", count, convert.files, convert.bytes, peaks["convert"]),
        StagePlan("extract", count, extract.files, extract.bytes, peaks["extract"]),
        StagePlan("pairs", count * iterations, *_times(pairs, iterations), peaks["pairs"]),
        StagePlan("train", iterations, *_times(network.model + checkpoints, iterations), peaks["train"]),
    ]
    if iterations > 1:
        made = _times(predicted, iterations - 1)
        stages.append(StagePlan("predicted", count * (iterations - 1), *made, peaks["predicted"]))

    kept = min(KEPT_ITERATIONS, iterations)
    fixed = convert + extract + network.model * iterations + _notes(settings, len(entries), count)
    left = fixed + (pairs + checkpoints) * kept + predicted * (kept - 1)
    peak = left
    if iterations > kept:  # at the end of the last but one
        before = fixed + network.model * -1 + (pairs + checkpoints + predicted) * kept
        peak = Size(max(left.files, before.files), max(left.bytes, before.bytes))
    folder, size = settings.run_dir, size_in_words(settings)
    return Plan("train", folder, count, found, stages, left, peak, workers, ratios, free_bytes(folder), size)


def _prepared(
    settings: TrainSettings, entries: Sequence[TomogramEntry], problems: dict[str, str]
) -> Iterator[_Prepared]:
    """Yield what each tomogram gives; one that gives nothing is added to `problems`."""
    hold_out = len(entries) < COHORT_WITH_WHOLE_TOMOGRAMS_HELD_OUT and not settings.datas_are_subtomos
    wedges: dict[Any, int] = {}
    for entry in entries:
        assert entry.tilt_range is not None, "training knows every tomogram's tilt range"
        if entry.tilt_range not in wedges:
            regions, _ = turned_regions(min(settings.crop_size, LIMIT_OF_PROBE), entry.tilt_range)
            wedges[entry.tilt_range] = len(regions)
        try:
            crops = _crops(settings, entry) if hold_out else settings.ncube
        except ValueError as error:
            problems[entry.id] = f"{entry.path}: {error}"
        except InputError as error:
            problems[entry.id] = str(error)
        else:
            yield _Prepared(entry, crops, wedges[entry.tilt_range])


def _crops(settings: TrainSettings, entry: TomogramEntry) -> int:
    """Draw the centres as the extraction will: whether a block can be held out depends on borders and mask."""
    volume = open_volume(entry.path, entry.signedness)
    interior = constant_borders(volume.shape, lambda z: read_sections(volume, z, z + 1)[0])
    if interior is None:
        raise ValueError("all voxels have one value")
    (z0, z1), (y0, y1), (x0, x1) = interior
    mask = None if entry.mask is None else load_mask(entry.mask, volume.shape)[z0:z1, y0:y1, x0:x1]
    parameters = settings.model_dump(include={"cube_size", "crop_size", "ncube", "seed"})
    parameters |= {"id": entry.id, "hold_out": True, "subtomograms": False}
    return sum(map(len, draw_centres((z1 - z0, y1 - y0, x1 - x0), mask, parameters)))


def _training_memory(settings: TrainSettings, prepared: Sequence[_Prepared], network: NetworkSize) -> dict[str, int]:
    architecture, crop = _architecture(settings), settings.crop_size
    precision = resolve_precision(settings.precision, settings.kernel)
    batch = max(1, settings.batch_size // settings.ranks)
    trained = memory.training(settings.cube_size, batch, architecture, network.values, precision)
    most: Counter[str] = Counter(train=trained)
    for one in prepared:
        volume = open_volume(one.entry.path, one.entry.signedness)
        mask = None if one.entry.mask is None else open_volume(one.entry.mask, "unsigned")
        of_this = {
            "convert": memory.converting(volume),
            "extract": memory.extracting(volume, one.crops, crop, mask),
            "pairs": memory.pairing(one.crops, one.wedges, settings.cube_size, crop),
        }
        if settings.iterations > 1:
            of_this["predicted"] = memory.predicting_crops(
                one.crops, crop, settings.predict_batch_size, architecture, precision, trained
            )
        most |= Counter(of_this)
    # The process that has predicted trains again, and TensorFlow keeps what it was given.
    most["train"] = max(most["train"], most["predicted"])
    return dict(most)


def _converted(volume: Volume, ratios: Mapping[str, list[float]]) -> Size:
    dtype = np.dtype(volume.data.dtype).newbyteorder("=")
    return sizes.converted(volume, dtype, ratios[dtype.name])


def _notes(settings: TrainSettings, entries: int, count: int) -> Size:
    """Everything small: settings, lists, the log of events, folded receipts, curves."""
    iterations = settings.iterations
    stages = ["convert", "extract", *["pairs", "train", "predicted"] * iterations][: 3 * iterations + 1]
    units = sum(1 if stage == "train" else count for stage in stages)
    events = units * sizes.UNIT_EVENT_BYTES + len(stages) * sizes.STAGE_EVENT_BYTES
    events += iterations * (settings.epochs * sizes.EPOCH_EVENT_BYTES + 90)
    receipts = sum(sizes.RECEIPT_BYTES[stage] * (1 if stage == "train" else count) for stage in stages)
    curves = Size(iterations, iterations * settings.epochs * sizes.CURVE_BYTES)
    folded = Size(1 + len(stages) - iterations, receipts)  # the trainings share a file
    # Settings, list, unusable, untrained, guard and log.
    others = Size(6, sizes.SETTINGS_BYTES + sizes.ROW_BYTES * entries + events)
    figure = Size(1, sizes.CURVES_FIGURE_BYTES)
    return total([curves, folded, others, figure, Size(_further_files(settings))])


def _further_files(settings: TrainSettings) -> int:
    """Logs of several ranks, a note of going back, and the guard of a folder of results elsewhere; next to no bytes."""
    further = settings.iterations if settings.ranks > 1 else 0
    further += settings.continue_iter is not None
    return further + (RunDirectory(settings.run_dir, settings.result_dir).results_lock is not None)


def _architecture(settings: TrainSettings) -> dict[str, Any]:
    names = {"filter_base", "convs_per_depth", "kernel", "batch_normalization"}
    return settings.model_dump(include=names) | {"depth": settings.unet_depth, "dropout": settings.drop_out}


def _times(size: Size, count: int) -> tuple[int, int]:
    return size.files * count, size.bytes * count


def free_bytes(folder: Path) -> int:
    """Return the space on the disk of a folder, which need not exist."""
    return shutil.disk_usage(next(path for path in (folder, *folder.parents) if path.is_dir())).free


def with_hours(
    plan: Plan, hours: Mapping[str, tuple[float, float]], peak_memory: Mapping[str, int] | None = None
) -> Plan:
    """Return the plan with (CPU-, GPU-) hours by stage, and the peak memory of stages in which it was measured."""
    found = peak_memory or {}
    stages = [
        replace(
            one,
            cpu_hours=hours[one.stage][0],
            gpu_hours=hours[one.stage][1],
            peak_memory=found.get(one.stage, one.peak_memory),
        )
        if one.stage in hours
        else one
        for one in plan.stages
    ]
    return replace(plan, stages=stages)
