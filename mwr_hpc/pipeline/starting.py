"""How a run begins, and how it goes on: its cohort, its frozen configuration, and a chosen iteration to go back to."""

import json
import shutil
from pathlib import Path

from mwr_hpc.config.loading import changed_settings, settings_from_yaml, settings_to_yaml
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.errors import ConfigError
from mwr_hpc.events import Emit, Notice
from mwr_hpc.io.atomic import atomic_file
from mwr_hpc.missing_wedge.cohort import Cohort, cohort_from_folder, cohort_from_list
from mwr_hpc.numerics.wedge import effective_tilt_range
from mwr_hpc.pipeline.receipts import ReceiptBook
from mwr_hpc.run_directory import RunDirectory
from mwr_hpc.training.hardware import resolve_hardware


def read_cohort(settings: TrainSettings) -> Cohort:
    """The tomograms to train on, headers read and masks matched.

    Raises
    ------
    InputError
        No tomogram at all, two of one id, or a mask that is missing.
    """
    tilt_range = effective_tilt_range(settings.tilt_range, settings.flip_tilt)
    masks = (settings.mask_dir, settings.allow_missing_masks)
    if settings.tomograms is not None:
        return cohort_from_list(settings.tomograms, tilt_range, *masks, settings.flip_tilt)
    folder = settings.subtomo_dir if settings.datas_are_subtomos else settings.input_dir
    assert folder is not None, "the settings require one source of tomograms"
    return cohort_from_folder(folder, tilt_range, *masks)


def freeze_settings(settings: TrainSettings, run: RunDirectory, emit: Emit) -> TrainSettings:
    """Write the run's configuration at its first start; later hold the call to it.

    What `auto` stands for is decided once, at the first start. Settings that do not change the result so far (how many
    iterations, workers, devices) may differ later and replace the old ones.

    Raises
    ------
    ConfigError
        Another setting differs, the run exists although `continue_training` is false, or a newer version wrote it.
    """
    if not run.config.exists():
        if settings.continue_iter:
            raise ConfigError(
                f"--continue_iter {settings.continue_iter}: {run.root} holds no run to go on with. "
                "Name the run's folder with --run_dir, or leave the option out to start a new run."
            )
        if settings.continue_training:
            emit(Notice(f"{run.root} holds no run to go on with: a new one starts"))
        frozen = settings.model_copy(update=resolve_hardware(settings.precision, settings.deterministic))
        _write(run.config, frozen)
        return frozen
    if settings.continue_training is False:
        raise ConfigError(
            f"{run.root}: holds a run already, and --continue_training False asks for a new one. "
            "Choose another --run_dir, or remove this one yourself."
        )
    before = settings_from_yaml(TrainSettings, run.config)
    decided: dict[str, object] = {"precision": before.precision} if settings.precision == "auto" else {}
    if settings.deterministic is None:
        decided["deterministic"] = before.deterministic
    frozen = settings.model_copy(update=decided)
    if differing := changed_settings(before, frozen):
        listed = "\n".join(f"  {name}: {old} in the run, {new} asked for" for name, (old, new) in differing.items())
        raise ConfigError(
            f"{run.config}: the run was started with other settings:\n{listed}\n"
            "Use the same settings to go on with it, or another --run_dir for a new run."
        )
    if frozen != before:
        _write(run.config, frozen)
    emit(Notice(f"going on with the run in {run.root}"))
    return frozen


def _write(path: Path, settings: TrainSettings) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_file(path) as partial:
        partial.write_text(settings_to_yaml(settings))


def continue_from(settings: TrainSettings, run: RunDirectory, book: ReceiptBook, emit: Emit) -> None:
    """Set aside whatever ran after iteration `continue_iter`.

    Done once for a run that has not reached its last iteration since: the same command, repeated by a batch system
    after a kill, goes on and does not go back again.

    Raises
    ------
    ConfigError
        There is no model of that iteration.
    """
    iteration = settings.continue_iter
    marker = run.root / "continued_from.json"
    if iteration is None:
        marker.unlink(missing_ok=True)
        return
    models = run.existing_models()
    if iteration not in models:
        raise ConfigError(
            f"--continue_iter {iteration}: {run.model(iteration)} does not exist; "
            f"there are models of the iterations {sorted(models)}."
        )
    last = max(models)
    if _read_marker(marker) == iteration and last < settings.iterations:
        return
    later = [number for number in {*models, *run.existing_iterations()} if number > iteration]
    if later:
        folder = run.set_aside(iteration)
        _move(run, later, folder)
        book.forget("train", (f"{number:02d}" for number in later))
        emit(Notice(f"going on from {run.model(iteration).name}; what ran after it is in {folder}"))
    with atomic_file(marker) as partial:
        partial.write_text(json.dumps({"iteration": iteration}))


def _read_marker(marker: Path) -> int | None:
    return int(json.loads(marker.read_text())["iteration"]) if marker.exists() else None


def _move(run: RunDirectory, iterations: list[int], folder: Path) -> None:
    """Models go last and the newest goes first, so that a kill in between leaves a run that can be continued."""
    folder.mkdir(parents=True)
    for number in sorted(iterations, reverse=True):
        for path in (run.iteration(number), run.model(number)):
            if path.exists():
                shutil.move(path, folder / path.name)
