"""``mwr-hpc boxnet retrain``: Warp's training file, a training that goes on where it stopped, a name for its model.

The run directory is laid out as that of ``mwr-hpc train`` with one iteration, and everything in it is found again the
same way: by receipts, checkpoints and claims.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mwr_hpc.boxnet.corpus import Examples, open_corpus
from mwr_hpc.boxnet.examples import ExampleStore
from mwr_hpc.boxnet.registry import find_model, models_folder, publish, read_picking_model, require_free
from mwr_hpc.config.boxnet_training import GENERIC, NONE, RetrainSettings
from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.events import Emit, Notice, ShouldStop
from mwr_hpc.io.atomic import disk_full_reported, named_within_limits, require_writable, without_partials
from mwr_hpc.io.storage import PAUSES
from mwr_hpc.pipeline.backend import ON_THIS_HOST, Backend, Place
from mwr_hpc.pipeline.event_log import recording
from mwr_hpc.pipeline.frozen_settings import freeze
from mwr_hpc.pipeline.lock import RunLock
from mwr_hpc.pipeline.quarantine import Quarantine
from mwr_hpc.pipeline.rank_job import RankJob
from mwr_hpc.pipeline.receipts import ReceiptBook, checksum, fingerprint
from mwr_hpc.pipeline.stages import Outcome, StageRunner
from mwr_hpc.pipeline.units import Claim, Unit, require_own_targets, run_unit
from mwr_hpc.run_directory import RunDirectory
from mwr_hpc.training.communicator import require_horovod
from mwr_hpc.training.hardware import check_devices, is_gpu_visible, resolve_hardware
from mwr_hpc.training.sampler import check_batch_size

WARP_FOLDER = "boxnet2training"
"""Where Warp keeps training files, beside the micrographs."""

PATCH, PATCH_ON_GPU = 256, 512

SAME_SIZE = 0.01
"""Relative difference of pixel sizes that are the same."""


@dataclass(frozen=True)
class Parent:
    """The model to start from: its file, checksum, and what the file says of it."""

    path: Path
    checksum: str
    description: dict[str, Any]


def model_path(settings: RetrainSettings) -> Path:
    """Where a run leaves its model, before it has a name."""
    return settings.run_dir / f"{settings.name}.h5"


def retrain(settings: RetrainSettings, emit: Emit, should_stop: ShouldStop, backend: Backend = ON_THIS_HOST) -> Outcome:
    """Train a picking network, or go on with it, and give the model its name.

    Parameters
    ----------
    settings, emit, should_stop, backend
        As for `train_picker`.

    Returns
    -------
    Outcome
        The model under its name.

    Raises
    ------
    ConfigError, StopRequested
        As `train_picker` does.
    InputError
        Also where the name is taken.
    """
    name = settings.name
    assert name is not None, "the settings require a name"
    require_free(name, own=model_path(settings) if RunDirectory(settings.run_dir).retraining.exists() else None)
    return Outcome(results=[publish(train_picker(settings, emit, should_stop, backend), name)])


def train_picker(
    settings: RetrainSettings, emit: Emit, should_stop: ShouldStop, backend: Backend = ON_THIS_HOST
) -> Path:
    """Train a picking network, or go on with it.

    Parameters
    ----------
    settings
        As resolved from defaults, files, environment and command line.
    emit
        Called with every event.
    should_stop
        Polled; once it is true the training stops in good order.
    backend
        Where the work is done.

    Returns
    -------
    Path
        The model, in the run directory.

    Raises
    ------
    ConfigError
        The settings do not fit the examples, the parent or the run directory, or another process holds it.
    InputError
        The examples, the corpus or the parent cannot be used; or no space is left.
    StopRequested
        After a stop in good order.
    """
    examples = settings.examples
    assert examples is not None, "the settings require examples"
    settings = settings.model_copy(update={"ranks": backend.ranks(settings.ranks)})
    run = RunDirectory(settings.run_dir)
    store = ExampleStore(examples)
    parent = _read_parent(settings)
    _check(settings, store, parent)
    require_writable(run.root)
    for file in (path := model_path(settings), models_folder() / path.name):
        named_within_limits(file, "--name")
    with (
        disk_full_reported(run.root),
        RunLock(run.lock, emit=emit, should_stop=should_stop) as lock,
        ExitStack() as entered,
    ):
        should_stop = lock.until_lost(should_stop)
        if run.retraining.exists():
            emit(Notice(f"going on with the run in {run.root}"))
        frozen = freeze(
            settings,
            run.retraining,
            lambda: _decided(settings),
            {"precision": "auto", "deterministic": None, "patch": None},
            another="--name",
        )
        log = recording(run.events, emit)
        place = Place(run.root, run.root, run.logs, log, should_stop)
        backend.take_over(place, adopt=True)
        entered.enter_context(without_partials([run.root], run.own_folders, lock.is_held))
        corpus = _corpus(frozen, log, should_stop)
        book = ReceiptBook(run.receipts)
        claim = Claim(run.lock, lock.token)
        runner = StageRunner(book, Quarantine(run.quarantine), claim, run.logs, log, should_stop)
        export = _export_unit(frozen, store, run, book, log)
        unit = _training_unit(frozen, store, corpus, parent, book)
        require_own_targets([export, unit], book)
        runner.run_one(export, lambda: run_unit(export, claim, pauses=PAUSES))
        job = RankJob(
            train=unit,
            predict=[],
            model=unit.target,
            claim=claim,
            checkpoint_folder=run.checkpoint(1),
            curves_path=run.curves(1),
        )
        runner.run_one(unit, lambda: backend.launcher(place, frozen.ranks)(job))
        return unit.target


def _decided(settings: RetrainSettings) -> Mapping[str, object]:
    """What is left to the hardware."""
    patch = settings.patch or (PATCH_ON_GPU if is_gpu_visible() else PATCH)
    return {**resolve_hardware(settings.precision, settings.deterministic), "patch": patch}


def _read_parent(settings: RetrainSettings) -> Parent | None:
    """Read the parent whole, so that a damaged one is refused before anything is written."""
    if settings.from_scratch:
        return None
    assert settings.parent is not None, "the settings require a parent"
    path = find_model(settings.parent)
    description, _ = read_picking_model(path)
    return Parent(path, checksum(path), description)


def _check(settings: RetrainSettings, store: ExampleStore, parent: Parent | None) -> None:
    """Refuse what is bound to fail later, while nothing has been written yet."""
    from mwr_hpc.boxnet.network import GROUP, Architecture

    if settings.ranks > 1:
        require_horovod()
    check_batch_size(settings.batch_size, settings.ranks, GROUP)
    if settings.gpuID is not None and not (settings.slurm or settings.in_allocation):
        check_devices(settings.gpuID)
    described = parent.description["architecture"] if parent else None
    depth = Architecture.from_record(described).depth if described else settings.depth
    if settings.patch is not None and settings.patch % 2**depth:
        below = settings.patch // 2**depth * 2**depth
        raise ConfigError(
            f"--patch {settings.patch}: the network halves it {depth} times, so it must be a multiple of {2**depth}; "
            f"use {below or 2**depth} or {below + 2**depth}"
        )
    if parent is not None:
        _require_one_pixel_size(store, parent.description["pixel_size"], parent.path)
    if settings.corpus not in (GENERIC, NONE) and settings.ratio[1]:
        _check_corpus(Path(settings.corpus), store)
    without = [name for name in store.names if not store.masked(name)]
    if settings.train_mask and without and not settings.allow_missing_masks:
        raise InputError(
            f"--train_mask: {len(without)} of {len(store.names)} micrographs in {store.path} have no mask, "
            f"{without[0]} among them. Prepare the examples with masks of all, add --allow_missing_masks (the "
            "background of those without then weighs 0), or leave --train_mask out"
        )


def _require_one_pixel_size(store: ExampleStore, other: float, path: Path) -> None:
    if abs(store.pixel_size / other - 1) > SAME_SIZE:
        raise InputError(
            f"{path} is at {other:g} A per pixel and the examples in {store.path} are at {store.pixel_size:g}: prepare "
            f"the examples with --pixel-size {other:g}"
        )


def _corpus(settings: RetrainSettings, emit: Emit, should_stop: ShouldStop) -> Path | None:
    """The folder of old examples, made where it is the one behind the generic model and not there yet."""
    if settings.corpus == NONE or not settings.ratio[1]:
        return None
    if settings.corpus != GENERIC:
        return Path(settings.corpus)
    from mwr_hpc.pipeline.boxnet_generic import generic_corpus

    return generic_corpus(emit, should_stop)


def _check_corpus(path: Path, store: ExampleStore) -> None:
    """Raise InputError unless a corpus can be learned from beside the examples."""
    examples: Examples = open_corpus(path)
    _require_one_pixel_size(store, examples.pixel_size, path)
    if not examples.training:
        raise InputError(f"{path}: no micrograph to train on in this corpus; name another with --corpus, or 'none'")


def _export_unit(
    settings: RetrainSettings, store: ExampleStore, run: RunDirectory, book: ReceiptBook, emit: Emit
) -> Unit:
    """Warp's training file beside the micrographs; in the run where that is not possible."""
    folder = run.root / WARP_FOLDER
    if store.micrographs is not None and store.micrographs.is_dir():
        beside = store.micrographs / WARP_FOLDER
        try:
            require_writable(beside)
            folder = beside
        except InputError:
            emit(Notice(f"{beside} cannot be written to: Warp's training file is in {folder}"))
    return Unit(
        stage="export",
        name=str(settings.name),
        function="mwr_hpc.boxnet.warp_export:export_examples",
        inputs={"examples": store.path},
        input_keys={"examples": fingerprint(store.path)},
        parameters={},
        target=folder / f"{settings.name}.tif",
        receipt=book.path("export", str(settings.name)),
    )


def _training_unit(
    settings: RetrainSettings, store: ExampleStore, corpus: Path | None, parent: Parent | None, book: ReceiptBook
) -> Unit:
    shape = settings.model_dump(include={"width", "depth", "blocks"}) if parent is None else {}
    chosen = {"name", "epochs", "batch_size", "patch", "lr_start", "lr_end", "freeze_bn", "train_mask"}
    chosen |= {"allow_missing_masks", "seed", "precision", "deterministic"}
    return Unit(
        stage="train",
        name="01",
        function="mwr_hpc.boxnet.train:retrain",
        inputs={"examples": store.path, "corpus": corpus, "parent": parent.path if parent else None},
        input_keys={
            "examples": fingerprint(store.path),
            "corpus": _corpus_key(corpus),
            "parent": parent.checksum if parent else None,
        },
        parameters={
            **settings.model_dump(include=chosen),
            **shape,
            "mix": list(settings.ratio),
            "training_set": _training_set(settings, store, parent),
        },
        execution={"gpuID": settings.gpuID},
        target=model_path(settings),
        receipt=book.path("train", "01"),
    )


def _training_set(settings: RetrainSettings, store: ExampleStore, parent: Parent | None) -> dict[str, Any]:
    """What the model file tells of its data: which micrographs it, and its parent, were trained on or judged by."""
    seen = {entry.checksum: entry.name for entry in store.entries.values()}
    inherited = (parent.description["training_set"] if parent else {}).get("micrographs", [])
    before = {record["checksum"]: record["name"] for record in inherited}
    return {
        "micrographs": [{"name": name, "checksum": key} for key, name in (before | seen).items()],
        "held_out": list(store.held_out),
        "particles": sum(entry.particles for entry in store.entries.values()),
        "diameter": store.diameter,
        "corpus": settings.corpus if settings.corpus in (GENERIC, NONE) else Path(settings.corpus).name,
    }


def _corpus_key(corpus: Path | None) -> str | None:
    if corpus is None or (corpus / "zarr.json").exists():
        return fingerprint(corpus)
    return ";".join(str(fingerprint(path)) for path in sorted(corpus.iterdir()) if path.is_file())
