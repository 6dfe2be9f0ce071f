"""Corrects whole tomograms: every model by every tomogram, each a unit of its own that is skipped once it is done."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from mwr_hpc.cluster.pool import Pool
from mwr_hpc.config.schema import PredictSettings
from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.events import Emit, ShouldStop
from mwr_hpc.io.atomic import disk_full_reported, require_writable, without_partials
from mwr_hpc.missing_wedge.cohort import Cohort, TomogramEntry, cohort_from_files, cohort_from_list, tomogram_files
from mwr_hpc.numerics.wedge import effective_tilt_range
from mwr_hpc.pipeline.backend import ON_THIS_HOST, Backend, Place
from mwr_hpc.pipeline.event_log import recording
from mwr_hpc.pipeline.receipts import ReceiptBook, checksum, fingerprint
from mwr_hpc.pipeline.stages import Outcome, StageRunner
from mwr_hpc.pipeline.sweep import STATE_FOLDER, Planned, Share, locked, quarantine_of, write_results
from mwr_hpc.pipeline.units import Claim, Unit, partials_removed
from mwr_hpc.training.model_file import read_model


@dataclass(frozen=True)
class Model:
    """One model of a sweep: its file, checksum and the tilt range that it was trained for."""

    path: Path
    checksum: str
    tilt_range: tuple[float, float]

    @property
    def name(self) -> str:
        """The file's name less its extension: names a sweep's folders."""
        return self.path.stem


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
        A model or a list cannot be read, no tomogram can be used, or no space is left.
    ConfigError
        Two models of one name, or another process is writing to the folder.
    StopRequested
        After a stop in good order.
    """
    require_writable(settings.out)
    share = Share.parse(settings.share)
    cohort = _read_cohort(settings)
    models = _read_models(settings)
    out = settings.out
    state = out / STATE_FOLDER
    book = ReceiptBook(state / "receipts", shared=share is not None)
    plan = _plan(settings, models, cohort, book)
    mine = share.of(plan) if share else plan
    unusable = sorted(cohort.problems)
    problems = {name: cohort.problems[name] for name in (share.of(unusable) if share else unusable)}
    folders = [out, *(out / model.name for model in models)]
    with (
        disk_full_reported(out),
        locked(state, share) as lock,
        ExitStack() as entered,
    ):
        log = recording(state / (share.file("events.jsonl") if share else "events.jsonl"), emit)
        place = Place(out, state, state / "logs", log, should_stop)
        backend.take_over(place, adopt=False)
        whole = without_partials(folders, [state])
        entered.enter_context(partials_removed(one.unit for one in mine) if share else whole)
        claim = Claim(lock.path, lock.token)
        pool = entered.enter_context(backend.prediction(place))
        try:
            results, failed = _correct(mine, models, book, state, claim, place, pool)
        finally:
            if len(models) > 1 or share or settings.slurm or settings.in_allocation:
                write_results(out, plan, cohort.problems, [model.path for model in models], book, state)
    failed = problems | failed
    if not results and not share:
        listed = "\n".join(f"  {identifier}: {reason}" for identifier, reason in failed.items())
        raise InputError(f"none of the tomograms could be corrected:\n{listed}")
    return Outcome(failed, results)


def _plan(settings: PredictSettings, models: list[Model], cohort: Cohort, book: ReceiptBook) -> list[Planned]:
    """Every model by every tomogram, model by model, so that each worker loads a model once."""
    plan = []
    for model in models:
        stage = "correct" if len(models) == 1 else f"correct_{model.name}"
        folder = settings.out if len(models) == 1 else settings.out / model.name
        for entry in cohort.entries:
            unit = _unit(settings, model, entry, stage, folder, book)
            plan.append(Planned(model.path, unit, _ome_zarr_copy(unit) if settings.format == "both" else None))
    return plan


def _correct(
    plan: Sequence[Planned], models: list[Model], book: ReceiptBook, state: Path, claim: Claim, place: Place, pool: Pool
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
        results += [one.unit.target for one in planned if one.unit.name in done]
        copies = [one.copy for one in planned if one.copy is not None and one.unit.name in done]
        if copies:
            copied = runner.run(copies[0].stage, copies, pool)
            results += [copy.target for copy in copies if copy.name in copied]
        failed |= quarantine.reasons({one.unit.name for one in planned})
    return results, failed


def _read_models(settings: PredictSettings) -> list[Model]:
    """Read the models whole, so that a damaged one is refused before anything is written."""
    from mwr_hpc.missing_wedge.correct import choose_sizes
    from mwr_hpc.missing_wedge.network import METHOD

    models: dict[str, Model] = {}
    for path in settings.models:
        description, _ = read_model(path, METHOD)
        choose_sizes(settings.cube_size, settings.crop_size, description["architecture"])
        minimum, maximum = description["training_set"]["tilt_range"]
        model = Model(path, checksum(path), (minimum, maximum))
        if model.name in models:
            raise ConfigError(
                f"{models[model.name].path} and {path}: two models of one name would write to the same folder. "
                "Rename one, or predict with each into its own --out."
            )
        models[model.name] = model
    return list(models.values())


def _read_cohort(settings: PredictSettings) -> Cohort:
    """The tomograms to correct; the tilt range of one for which nobody says it is None here, and the model's later."""
    flipped = bool(settings.flip_tilt)
    tilt_range = settings.tilt_range and effective_tilt_range(settings.tilt_range, flipped)
    if settings.tomograms is not None:
        return cohort_from_list(settings.tomograms, tilt_range, flip_tilt=flipped)
    return cohort_from_files(tomogram_files(settings.inputs), tilt_range)


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
            "tilt_range": list(entry.tilt_range or model.tilt_range),
            "cube_size": settings.cube_size,
            "crop_size": settings.crop_size,
            "keep_measured": settings.keep_measured,
            "dtype": settings.dtype,
            "contrast": settings.contrast,
            "format": "ome-zarr" if ome_zarr else "mrc",
        },
        execution={"batch_size": settings.batch_size, "gpuID": settings.gpuID},
        target=folder / f"{entry.id}_corrected.{'ome.zarr' if ome_zarr else 'mrc'}",
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
