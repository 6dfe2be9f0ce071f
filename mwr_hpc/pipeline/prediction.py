"""Corrects whole tomograms: every model by every tomogram, each a unit of its own that is skipped once it is done."""

from dataclasses import dataclass
from pathlib import Path

from mwr_hpc.cluster.pool import InlinePool
from mwr_hpc.config.schema import PredictSettings
from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.events import Emit, ShouldStop
from mwr_hpc.io.atomic import disk_full_reported, require_writable, without_partials
from mwr_hpc.missing_wedge.cohort import Cohort, TomogramEntry, cohort_from_files, cohort_from_list, tomogram_files
from mwr_hpc.numerics.wedge import effective_tilt_range
from mwr_hpc.pipeline.lock import RunLock
from mwr_hpc.pipeline.receipts import ReceiptBook, checksum, fingerprint
from mwr_hpc.pipeline.stages import Outcome, Quarantine, StageRunner
from mwr_hpc.pipeline.units import Claim, Unit
from mwr_hpc.training.model_file import read_model

STATE_FOLDER = ".mwr_hpc"
"""Beside the results: receipts, lock and logs of the commands that wrote them."""


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


def predict(settings: PredictSettings, emit: Emit, should_stop: ShouldStop) -> Outcome:
    """Correct tomograms with one model or several.

    Parameters
    ----------
    settings
        As resolved from defaults, files, environment and command line.
    emit
        Called with every event.
    should_stop
        Polled; once it is true the command stops in good order.

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
    cohort = _read_cohort(settings)
    models = _read_models(settings)
    out = settings.out
    failed = dict(cohort.problems)
    results: list[Path] = []
    state = out / STATE_FOLDER
    with (
        disk_full_reported(out),
        RunLock(state / "lock.json") as lock,
        without_partials([out, *(out / model.name for model in models)], [state]),
    ):
        book = ReceiptBook(state / "receipts")
        for model in models:
            stage = "correct" if len(models) == 1 else f"correct_{model.name}"
            folder = out if len(models) == 1 else out / model.name
            quarantine = Quarantine(state / "quarantine" / stage)
            claim = Claim(state / "lock.json", lock.token)
            runner = StageRunner(book, quarantine, claim, state / "logs", emit, should_stop)
            units = [_unit(settings, model, entry, stage, folder, book) for entry in cohort.entries]
            done = runner.run(stage, units, InlinePool())
            results += [unit.target for unit in units if unit.name in done]
            if settings.format == "both":
                copies = [_ome_zarr_copy(unit, done[unit.name].key) for unit in units if unit.name in done]
                copied = runner.run(f"{stage}_ome_zarr", copies, InlinePool())
                results += [copy.target for copy in copies if copy.name in copied]
            failed |= quarantine.reasons(cohort.ids)
    if not results:
        listed = "\n".join(f"  {identifier}: {reason}" for identifier, reason in failed.items())
        raise InputError(f"none of the tomograms could be corrected:\n{listed}")
    return Outcome(failed, results)


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


def _ome_zarr_copy(corrected: Unit, key: str) -> Unit:
    return Unit(
        stage=f"{corrected.stage}_ome_zarr",
        name=corrected.name,
        function="mwr_hpc.missing_wedge.convert:convert_tomogram",
        inputs={"tomogram": corrected.target},
        input_keys={"tomogram": key},
        parameters={},
        target=corrected.target.with_suffix(".ome.zarr"),
    )
