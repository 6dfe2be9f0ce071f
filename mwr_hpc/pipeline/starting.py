"""How a run begins, and how it goes on: its cohort, its frozen configuration, and a chosen iteration to go back to."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.events import Emit, Notice
from mwr_hpc.io.atomic import atomic_file, require_writable
from mwr_hpc.io.records import read_record
from mwr_hpc.missing_wedge.check import check_group
from mwr_hpc.missing_wedge.cohort import cohort_from_folder, cohort_from_list
from mwr_hpc.missing_wedge.entries import Cohort, TomogramEntry, without_long_names
from mwr_hpc.numerics.wedge import effective_tilt_range
from mwr_hpc.pipeline.frozen_settings import freeze
from mwr_hpc.pipeline.lost_receipts import require_own_models
from mwr_hpc.pipeline.receipts import ReceiptBook
from mwr_hpc.pipeline.training_units import own_models
from mwr_hpc.printable import printable
from mwr_hpc.run_directory import RunDirectory
from mwr_hpc.training.hardware import check_devices, check_kernel, resolve_hardware
from mwr_hpc.training.model_file import read_model

DEFAULT_TILT_RANGE = (-60.0, 60.0)
"""Of a tomogram for which neither the command nor a list gives one."""

RULES = "0.2"
"""What a new run notes as `begun_by`, so that later versions go on with it by the same rules."""


def tell_unused_input(settings: TrainSettings, emit: Emit) -> None:
    """Warn of a folder that is given but not used: command lines for MWR name both."""
    if settings.datas_are_subtomos and settings.input_dir is not None:
        text = (
            f"--input_dir {settings.input_dir} is not used: with --datas_are_subtomos True the inputs are the "
            f"sub-tomograms in {settings.subtomo_dir}"
        )
        emit(Notice(text, warning=True))
    if settings.subtomo_dir is not None and not settings.datas_are_subtomos:
        text = f"--subtomo_dir {settings.subtomo_dir} is not used: --datas_are_subtomos is False, so tomograms are"
        emit(Notice(text, warning=True))


def tell_misfits(settings: TrainSettings, cohort: Cohort, emit: Emit) -> None:
    """Warn of tomograms that one model should not be trained on together, as `check` does."""
    for finding in check_group(settings.group, cohort.entries):
        emit(Notice(f"{finding.about}: {finding.text}", warning=True))


def read_cohort(settings: TrainSettings) -> Cohort:
    """The tomograms to train on, headers read and masks matched; those too small for the crops are problems.

    Raises
    ------
    InputError
        No tomogram at all that can be used, two of one id, or a mask that is missing.
    """
    return large_enough(cohort_as_named(settings), settings)


def large_enough(cohort: Cohort, settings: TrainSettings) -> Cohort:
    """The cohort without the tomograms that cannot hold a crop, and with a tilt range for each.

    Raises
    ------
    InputError
        None is left.
    """
    too_small = {entry.id: reason for entry in cohort.entries if (reason := _too_small(entry, settings))}
    entries = [
        replace(entry, tilt_range=entry.tilt_range or DEFAULT_TILT_RANGE)
        for entry in cohort.entries
        if entry.id not in too_small
    ]
    problems = cohort.problems | too_small
    if not entries:
        raise InputError("no tomogram can be used:\n" + "\n".join(map(printable, problems.values())))
    run = RunDirectory(settings.run_dir, settings.result_dir)
    return without_long_names(Cohort(entries, problems), run.longest_names)


def with_ranks(settings: TrainSettings, ranks: int) -> TrainSettings:
    """`settings` with the ranks that there will be.

    Raises
    ------
    ConfigError
        So many ranks cannot train with them.
    """
    if ranks == settings.ranks:
        return settings
    if settings.batch_normalization:
        raise ConfigError(
            f"--batch_normalization with {ranks} ranks: each would normalise by its own part of a batch; have one "
            "rank train (site file, slurm.training), or leave batch normalisation out"
        )
    return settings.model_copy(update={"ranks": ranks})


def write_unusable(path: Path, problems: Mapping[str, str]) -> None:
    """Note the tomograms that cannot even be opened, with the reasons, for `status`."""
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(problems, indent=1))


def cohort_as_named(settings: TrainSettings) -> Cohort:
    """The tomograms to train on, headers read and masks matched, whatever their size.

    Raises
    ------
    InputError
        No tomogram at all, two of one id, or a mask that is missing.
    """
    tilt_range = settings.tilt_range and effective_tilt_range(settings.tilt_range, settings.flip_tilt)
    masks = (settings.mask_dir, settings.allow_missing_masks)
    if settings.tomograms is not None:
        return cohort_from_list(
            settings.tomograms, tilt_range, *masks, settings.flip_tilt, settings.group, signedness=settings.bytes
        )
    folder = settings.subtomo_dir if settings.datas_are_subtomos else settings.input_dir
    assert folder is not None, "the settings require one source of tomograms"
    return cohort_from_folder(folder, tilt_range, *masks, settings.bytes)


def _too_small(entry: TomogramEntry, settings: TrainSettings) -> str | None:
    """Why a volume cannot hold a crop, with sizes that it can hold; None when it can."""
    thinnest = min(entry.shape)
    largest = thinnest if settings.datas_are_subtomos else 2 * thinnest
    if settings.crop_size <= largest:
        return None
    multiple = 2**settings.unet_depth
    crop_size = largest // multiple * multiple
    cube_size = crop_size * 2 // 3 // multiple * multiple
    fitting = f"use for example --cube_size {cube_size} --crop_size {crop_size}" if cube_size else "lower --unet_depth"
    limit = "lie inside a sub-tomogram" if settings.datas_are_subtomos else "be at most twice as wide as its tomogram"
    return (
        f"{entry.path}: {entry.shape} voxels (z, y, x) are too few for --crop_size {settings.crop_size}: a crop has to "
        f"{limit}; {fitting}, or leave this file out"
    )


def check_before_start(settings: TrainSettings, run: RunDirectory) -> None:
    """Refuse what is bound to fail later, while nothing has been written yet.

    Raises
    ------
    ConfigError
        `continue_iter` is given where there is no run, or no model of that iteration; or there is no such GPU here.
    InputError
        Results cannot be written or there are those of another run, the pretrained model or the noise volumes cannot
        be used.
    """
    if settings.continue_iter and not run.config.exists():
        raise ConfigError(
            f"--continue_iter {settings.continue_iter}: {run.root} holds no run to go on with. "
            "Name the run's folder with --run_dir, or leave the option out to start a new run."
        )
    book = ReceiptBook(run.receipts)
    require_own_models(run, book)
    models = own_models(run, book)
    if settings.continue_iter and settings.continue_iter not in models:
        raise ConfigError(
            f"--continue_iter {settings.continue_iter}: {run.model(settings.continue_iter)} does not exist; "
            f"there are models of the iterations {sorted(models)}."
        )
    if not (settings.slurm or settings.in_allocation):
        check_kernel(settings.precision, settings.kernel)
        if settings.gpuID is not None:
            check_devices(settings.gpuID)
    require_writable(run.root)
    require_writable(run.results)
    if settings.pretrained_model is not None:
        from mwr_hpc.missing_wedge.network import METHOD
        from mwr_hpc.missing_wedge.train import architecture_of

        architecture = architecture_of(settings.model_dump()).to_record()
        read_model(settings.pretrained_model, METHOD, architecture)
    if settings.noise_dir is not None:
        from mwr_hpc.missing_wedge.input_pipeline import NoiseVolumes

        NoiseVolumes(settings.noise_dir, settings.cube_size, settings.bytes).check()


def freeze_settings(settings: TrainSettings, run: RunDirectory, emit: Emit) -> TrainSettings:
    """Write the run's configuration at its first start; later hold the call to it.

    What `auto` stands for is decided once, at the first start. Settings that do not change the result so far (how many
    iterations, workers, devices) may differ later and replace the old ones.

    Raises
    ------
    ConfigError
        Another setting differs, the run exists although `continue_training` is false, or a newer version wrote it.
    """
    goes_on = run.config.exists()
    if goes_on and settings.continue_training is False:
        raise ConfigError(
            f"{run.root}: holds a run already, and --continue_training False asks for a new one. "
            "Choose another --run_dir, or remove this one yourself."
        )
    frozen = freeze(
        settings,
        run.config,
        lambda: {
            **resolve_hardware(settings.precision, settings.deterministic, settings.kernel),
            "begun_by": RULES,
        },
        {"precision": "auto", "deterministic": None, "begun_by": None},
        lambda before: _moved(before, run),
    )
    if not (frozen.slurm or frozen.in_allocation):
        check_kernel(frozen.precision, frozen.kernel)
    if goes_on:
        emit(Notice(f"going on with the run in {run.root}"))
    elif settings.continue_training:
        emit(Notice(f"{run.root} holds no run to go on with: a new one starts"))
    return frozen


def _moved(settings: TrainSettings, run: RunDirectory) -> TrainSettings:
    """`settings` of a run whose folder may have been moved since; results that lay in it have moved with it."""
    if settings.result_dir != RunDirectory(settings.run_dir).results:
        return settings
    return settings.model_copy(update={"result_dir": RunDirectory(run.root).results})


def continue_from(settings: TrainSettings, run: RunDirectory, book: ReceiptBook, emit: Emit) -> None:
    """Set aside whatever ran after iteration `continue_iter`.

    Done once for a run that has not reached its last iteration since: the same command, repeated by a batch system
    after a kill, goes on and does not go back again.
    """
    iteration = settings.continue_iter
    marker = _marker(run)
    if iteration is None:
        marker.unlink(missing_ok=True)
        return
    if not goes_back(settings, run, book):
        return
    later = [number for number in {*own_models(run, book), *run.existing_iterations()} if number > iteration]
    if later:
        folder = run.set_aside(iteration)
        _move(run, later, folder)
        book.forget("train", (f"{number:02d}" for number in later))
        emit(Notice(f"going on from {run.model(iteration).name}; what ran after it is in {folder}"))
    with atomic_file(marker) as partial:
        partial.write_text(json.dumps({"iteration": iteration}))


def goes_back(settings: TrainSettings, run: RunDirectory, book: ReceiptBook) -> bool:
    """Whether `continue_from` will set something aside."""
    iteration, last = settings.continue_iter, max(own_models(run, book), default=0)
    return iteration is not None and (_read_marker(_marker(run)) != iteration or last >= settings.iterations)


def _marker(run: RunDirectory) -> Path:
    return run.root / "continued_from.json"


def _read_marker(marker: Path) -> int | None:
    if not marker.exists():
        return None
    iteration = (read_record(marker, [], "") or {}).get("iteration")
    if not isinstance(iteration, int):
        raise ConfigError(
            f"{marker}: damaged; it said from which iteration this run went on last. Leave --continue_iter out to go "
            "on from the newest model, or remove this file to go back once more"
        )
    return iteration


def _move(run: RunDirectory, iterations: list[int], folder: Path) -> None:
    """Models go last and the newest goes first, so that a kill in between leaves a run that can be continued."""
    folder.mkdir(parents=True)
    for number in sorted(iterations, reverse=True):
        for path in (run.iteration(number), run.model(number)):
            if path.exists():
                shutil.move(path, folder / path.name)
