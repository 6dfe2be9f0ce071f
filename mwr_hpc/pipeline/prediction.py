"""Corrects whole tomograms: every model by every tomogram, each a unit of its own that is skipped once it is done."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mwr_hpc.cluster.pool import Pool
from mwr_hpc.config.schema import PredictSettings
from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.events import Emit, Notice, ShouldStop
from mwr_hpc.io.atomic import (
    disk_full_reported,
    named_within_limits,
    partial_path,
    require_writable,
    without_partials,
)
from mwr_hpc.io.volume import OME_ZARR_SUFFIX
from mwr_hpc.missing_wedge.cohort import cohort_from_files, cohort_from_list, tomogram_files
from mwr_hpc.missing_wedge.entries import Cohort, TomogramEntry, identifier_of, without_long_names
from mwr_hpc.numerics.wedge import effective_tilt_range
from mwr_hpc.pipeline.assumptions import tell_assumptions
from mwr_hpc.pipeline.backend import ON_THIS_HOST, Backend, Place
from mwr_hpc.pipeline.corrections import figure_of, warn_of_little_change
from mwr_hpc.pipeline.event_log import recording
from mwr_hpc.pipeline.receipts import ReceiptBook, checksum, fingerprint
from mwr_hpc.pipeline.stages import Outcome, StageRunner, nothing_usable
from mwr_hpc.pipeline.starting import write_unusable
from mwr_hpc.pipeline.sweep import Planned, Share, locked, quarantine_of, require_own_tables, write_results
from mwr_hpc.pipeline.telling_defects import tell_defects
from mwr_hpc.pipeline.training_units import stated_bytes, stated_voxel_size
from mwr_hpc.pipeline.units import Claim, Unit, partials_removed, require_own_targets
from mwr_hpc.run_directory import STATE_FOLDER, UNUSABLE
from mwr_hpc.training.hardware import check_devices
from mwr_hpc.training.model_file import read_model, require_plausible

CORRECTED = "_corrected"
"""Ends the names of results."""


@dataclass(frozen=True)
class Model:
    """One model of a sweep: its file, checksum and the tilt ranges, mostly one, that it was trained for."""

    path: Path
    checksum: str
    tilt_ranges: list[list[float]]

    @property
    def name(self) -> str:
        """The file's name less its extension: names a sweep's folders."""
        return self.path.stem

    def tilt_range_for(self, entry: TomogramEntry) -> list[float]:
        """The tomogram's tilt range if it is known, else that of training.

        Raises
        ------
        InputError
            It is not known, and there were several in training.
        """
        if entry.tilt_range is not None:
            return list(entry.tilt_range)
        if len(self.tilt_ranges) > 1:
            listed = ", ".join(f"{low:g} to {high:g}" for low, high in self.tilt_ranges)
            raise InputError(
                f"{entry.path}: its tilt range is not known, and {self.path} was trained on several ({listed}); give "
                "--tilt_range, or a list of tomograms (--tomograms) with their ranges"
            )
        return self.tilt_ranges[0]


def predict(settings: PredictSettings, emit: Emit, should_stop: ShouldStop, backend: Backend = ON_THIS_HOST) -> Outcome:
    """Correct tomograms with one model or several.

    Parameters
    ----------
    settings
        As resolved from defaults, files, environment and command line.
    emit
        Called with every event.
    should_stop
        Polled; once it is true the command stops in good order.
    backend
        Where the work is done.

    Returns
    -------
    Outcome
        The corrected tomograms, and those that failed with their reasons.

    Raises
    ------
    InputError
        A model or a list cannot be read, no tomogram can be used, something else is where a result shall be, or no
        space is left.
    ConfigError
        Two models of one name, or another process is writing to the folder.
    StopRequested
        After a stop in good order.
    """
    require_writable(settings.out)
    share = Share.parse(settings.share)
    if settings.gpuID is not None and not (settings.slurm or settings.in_allocation):
        check_devices(settings.gpuID)
    cohort = read_tomograms(settings, emit)
    tell_assumptions(cohort, emit)
    models = read_models(settings)
    out = settings.out
    state = out / STATE_FOLDER
    book = ReceiptBook(state / "receipts", shared=share is not None)
    cohort = _without_long_names(settings, models, cohort, state)
    plan = _plan(settings, models, cohort, book)
    mine = share.of(plan) if share else plan
    require_own_targets([unit for one in mine for unit in one.units], book)
    require_own_tables(out, state)
    unusable = sorted(cohort.problems)
    problems = {name: cohort.problems[name] for name in (share.of(unusable) if share else unusable)}
    folders = [out, *(out / model.name for model in models)]
    with (
        disk_full_reported(out),
        locked(state, share, emit, should_stop) as lock,
        ExitStack() as entered,
    ):
        log = recording(state / (share.file("events.jsonl") if share else "events.jsonl"), emit)
        place = Place(out, state, state / "logs", log, should_stop)
        backend.take_over(place, adopt=False)
        whole = without_partials(folders, [state], lock.is_held)
        own = partials_removed((unit for one in mine for unit in one.units), lock.is_held)
        entered.enter_context(own if share else whole)
        write_unusable(state / UNUSABLE, cohort.problems)
        claim = Claim(lock.path, lock.token)
        pool = entered.enter_context(backend.prediction(place))
        try:
            results, failed = _correct(mine, settings, models, book, state, claim, place, pool)
        finally:
            write_results(out, plan, cohort.problems, [model.path for model in models], book, state)
    failed = problems | failed
    if not results and not share:
        raise nothing_usable("tomograms could be corrected", failed)
    return Outcome(failed, results)


def _without_long_names(settings: PredictSettings, models: list[Model], cohort: Cohort, state: Path) -> Cohort:
    longest = max(models, key=lambda model: len(model.name))
    folder = settings.out / longest.name if len(models) > 1 else settings.out
    stage = f"{_stage(longest, models)}_ome_zarr"
    named_within_limits(state / f"{stage}.jsonl", f"the model {longest.path}, from which names are made,")

    def made(identifier: str) -> list[Path]:
        target = folder / f"{identifier}{CORRECTED}{OME_ZARR_SUFFIX if settings.format != 'mrc' else '.mrc'}"
        return [partial_path(target), state / "logs" / f"{stage}_{identifier}.log"]

    return without_long_names(cohort, made)


def _stage(model: Model, models: list[Model]) -> str:
    return "correct" if len(models) == 1 else f"correct_{model.name}"


def _plan(settings: PredictSettings, models: list[Model], cohort: Cohort, book: ReceiptBook) -> list[Planned]:
    """Every model by every tomogram, model by model, so that each worker loads a model once."""
    plan = []
    for model in models:
        stage = _stage(model, models)
        folder = settings.out if len(models) == 1 else settings.out / model.name
        for entry in cohort.entries:
            unit = _unit(settings, model, entry, stage, folder, book)
            copy = _ome_zarr_copy(unit) if settings.format == "both" else None
            plan.append(Planned(model.path, unit, figure_of(unit, book), copy))
    return plan


def _correct(
    plan: Sequence[Planned],
    settings: PredictSettings,
    models: list[Model],
    book: ReceiptBook,
    state: Path,
    claim: Claim,
    place: Place,
    pool: Pool,
) -> tuple[list[Path], dict[str, str]]:
    """Do what is not done; return the results, and the tomograms that failed with the reasons."""
    results: list[Path] = []
    failed: dict[str, str] = {}
    for model in models:
        planned = [one for one in plan if one.model == model.path]
        if not planned:
            continue
        stage = planned[0].unit.stage
        quarantine = quarantine_of(state, stage)
        runner = StageRunner(book, quarantine, claim, place.logs, place.emit, place.should_stop)
        done = runner.run(stage, [one.unit for one in planned], pool)
        tell_defects(done, place.emit)
        results += [one.unit.target for one in planned if one.unit.name in done]
        warn_of_little_change(done, settings.keep_measured, place.emit)
        figures = [figure_of(one.unit, book, done[one.unit.name]) for one in planned if one.unit.name in done]
        if figures:
            runner.run(figures[0].stage, figures, pool)
        copies = [one.copy for one in planned if one.copy is not None and one.unit.name in done]
        if copies:
            copied = runner.run(copies[0].stage, copies, pool)
            results += [copy.target for copy in copies if copy.name in copied]
        failed |= quarantine.reasons({one.unit.name for one in planned})
    return results, failed


def read_models(settings: PredictSettings) -> list[Model]:
    """Read the models whole, so that a damaged one is refused before anything is written."""
    from mwr_hpc.missing_wedge.correct import choose_sizes
    from mwr_hpc.missing_wedge.network import METHOD

    models: dict[str, Model] = {}
    for path in settings.models:
        description, weights = read_model(path, METHOD)
        require_plausible(path, description, weights)
        choose_sizes(settings.cube_size, settings.crop_size, description["architecture"])
        tilt_ranges = np.reshape(description["training_set"]["tilt_range"], (-1, 2)).tolist()
        model = Model(path, checksum(path), tilt_ranges)
        if model.name in models:
            raise ConfigError(
                f"{models[model.name].path} and {path}: two models of one name would write to the same folder. "
                "Rename one, or predict with each into its own --out."
            )
        models[model.name] = model
    return list(models.values())


def read_tomograms(settings: PredictSettings, emit: Emit) -> Cohort:
    """The tomograms to correct; the tilt range of one for which nobody says it is None here, and the model's later."""
    tilt_range = settings.tilt_range and effective_tilt_range(settings.tilt_range, settings.flip_tilt)
    if settings.tomograms is not None:
        return cohort_from_list(
            settings.tomograms, tilt_range, flip_tilt=settings.flip_tilt, alone=True, signedness=settings.bytes
        )
    files = tomogram_files(settings.inputs)
    names = {identifier_of(path) for path in files}
    corrected = {name for name in names if name.endswith(CORRECTED) and name.removesuffix(CORRECTED) in names}
    if corrected:
        emit(Notice(f"left out as results of earlier corrections: {', '.join(sorted(corrected))}"))
    usable = [path for path in files if identifier_of(path) not in corrected]
    return cohort_from_files(usable, tilt_range, settings.bytes)


def _unit(
    settings: PredictSettings, model: Model, entry: TomogramEntry, stage: str, folder: Path, book: ReceiptBook
) -> Unit:
    ome_zarr = settings.format == "ome-zarr"
    return Unit(
        stage=stage,
        name=entry.id,
        function="mwr_hpc.missing_wedge.correct:correct_tomogram",
        inputs={"tomogram": entry.path, "model": model.path},
        input_keys={"tomogram": fingerprint(entry.path), "model": model.checksum},
        parameters={
            "tilt_range": model.tilt_range_for(entry),
            "cube_size": settings.cube_size,
            "crop_size": settings.crop_size,
            "keep_measured": settings.keep_measured,
            "dtype": settings.dtype,
            "contrast": settings.contrast,
            "format": "ome-zarr" if ome_zarr else "mrc",
            **stated_voxel_size(entry),
            **stated_bytes(entry),
        },
        execution={"batch_size": settings.batch_size, "gpuID": settings.gpuID},
        target=folder / f"{entry.id}{CORRECTED}.{'ome.zarr' if ome_zarr else 'mrc'}",
        receipt=None if ome_zarr else book.path(stage, entry.id),
    )


def _ome_zarr_copy(corrected: Unit) -> Unit:
    return Unit(
        stage=f"{corrected.stage}_ome_zarr",
        name=corrected.name,
        function="mwr_hpc.missing_wedge.convert:convert_tomogram",
        inputs={"tomogram": corrected.target},
        input_keys={"tomogram": corrected.key},
        parameters={},
        target=corrected.target.with_suffix(".ome.zarr"),
    )
