"""Picks particles in micrographs: each one through the network once, then files by the rules that are asked for.

What the network saw is kept as candidates, so that other rules need no network. A file that somebody corrected by hand
since it was written stays as it is, and so does a mask of another origin.
"""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mwr_hpc.boxnet.candidates import Rules
from mwr_hpc.boxnet.registry import find_model, read_picking_model
from mwr_hpc.cluster.pool import Pool
from mwr_hpc.config.boxnet_picking import PickSettings
from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.events import Emit, Notice, ShouldStop
from mwr_hpc.io.atomic import disk_full_reported, named_within_limits, require_writable, without_partials
from mwr_hpc.io.micrograph import micrograph_files
from mwr_hpc.io.names import long_names
from mwr_hpc.pipeline.assumptions import readings_of
from mwr_hpc.pipeline.backend import ON_THIS_HOST, Backend, Place
from mwr_hpc.pipeline.event_log import recording
from mwr_hpc.pipeline.makers import Makers
from mwr_hpc.pipeline.pick_folder import PickFolder, Standing, standing, write_lists
from mwr_hpc.pipeline.quarantine import Quarantine
from mwr_hpc.pipeline.receipts import ReceiptBook, checksum, fingerprint
from mwr_hpc.pipeline.stages import Outcome, StageRunner, nothing_usable
from mwr_hpc.pipeline.sweep import Share, locked, quarantine_of
from mwr_hpc.pipeline.telling_defects import tell_hot_pixels
from mwr_hpc.pipeline.units import Claim, Unit, longest_names, partials_removed
from mwr_hpc.printable import first_of


@dataclass(frozen=True)
class Model:
    """The model to pick with: its file, checksum, and what the file says of it."""

    path: Path
    checksum: str
    description: dict[str, Any]

    @property
    def pixel_size(self) -> float:
        """Angstrom, of the images that it was trained on."""
        return float(self.description["pixel_size"])


@dataclass(frozen=True)
class Planned:
    """One micrograph: the unit that asks the network, and those that write files from what it saw, STAR first."""

    candidates: Unit
    files: list[Unit]

    @property
    def units(self) -> list[Unit]:
        """All of them."""
        return [self.candidates, *self.files]


def pick(settings: PickSettings, emit: Emit, should_stop: ShouldStop, backend: Backend = ON_THIS_HOST) -> Outcome:
    """Pick the particles of all micrographs of a folder.

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
        The list of all particles, and the micrographs that failed with their reasons.

    Raises
    ------
    InputError
        The model cannot be used, there is no micrograph that can, two have one name, something else is where a result
        shall be, or no space is left.
    ConfigError
        Another process is writing to the folder.
    StopRequested
        After a stop in good order.
    """
    assert settings.micrographs is not None, "the settings require micrographs"
    model = _read_model(settings)
    folder = PickFolder(settings.folder, settings.suffix or _suffix_of(model.path))
    require_writable(folder.root)
    share = Share.parse(settings.share)
    book = ReceiptBook(folder.state / "receipts", shared=share is not None)
    rules = _rules(settings, model)
    paths = micrograph_files(settings.micrographs)[: settings.limit]
    named_within_limits(folder.record, "--suffix or the model's name:")
    readings = readings_of(paths, settings.bytes, emit)
    planned = {path.stem: _planned(settings, model, rules, folder, path, readings[path], book) for path in paths}
    long = long_names(planned, lambda name: _longest_names(planned[name], folder))
    if len(long) == len(planned):
        raise nothing_usable("micrographs could be picked", long)
    plan = [one for name, one in planned.items() if name not in long]
    mine = share.of(plan) if share else plan
    kept = _kept(mine, folder, book, emit)
    with (
        disk_full_reported(folder.root),
        locked(folder.state, share, emit, should_stop) as lock,
        ExitStack() as entered,
    ):
        log = recording(folder.state / (share.file("events.jsonl") if share else "events.jsonl"), emit)
        place = Place(folder.root, folder.state, folder.state / "logs", log, should_stop)
        backend.take_over(place, adopt=False)
        flat = sorted({unit.target.parent for one in plan for unit in one.files} | {folder.root})
        whole = without_partials(flat, [folder.state], lock.is_held)
        own = partials_removed((unit for one in mine for unit in one.units), lock.is_held)
        entered.enter_context(own if share else whole)
        folder.write_record(_record(settings, model, rules, folder))
        runner = Runner(folder, book, Claim(lock.path, lock.token), place, Makers(log))
        pool = entered.enter_context(backend.picking(place, len(mine), settings.processes))
        try:
            failed = runner.run(mine, kept, pool)
        finally:
            write_lists(folder, [one.files[0] for one in plan], runner.quarantines(plan), book, long)
    if not share and len(failed) == len(plan):
        raise nothing_usable("micrographs could be picked", failed)
    return Outcome(long | failed, [folder.list_of_all])


@dataclass(frozen=True)
class Runner:
    """Does the stages of a picking."""

    folder: PickFolder
    book: ReceiptBook
    claim: Claim
    place: Place
    makers: Makers

    def run(self, plan: Sequence[Planned], kept: set[Path], pool: Pool) -> dict[str, str]:
        """Do what is not done, less the files that are `kept` as they are; return what failed, with the reasons."""
        seen = self._stage([one.candidates for one in plan], pool)
        for number in range(max((len(one.files) for one in plan), default=0)):
            units = [one.files[number] for one in plan if one.candidates.name in seen]
            self._stage([unit for unit in units if unit.target not in kept], pool)
        names = {one.candidates.name for one in plan}
        failed: dict[str, str] = {}
        for quarantine in self.quarantines(plan):
            failed |= quarantine.reasons(names - set(failed))
        return failed

    def quarantines(self, plan: Sequence[Planned]) -> list[Quarantine]:
        """Those of all stages."""
        stages = dict.fromkeys(unit.stage for one in plan for unit in one.units)
        return [quarantine_of(self.folder.state, stage) for stage in stages]

    def _stage(self, units: Sequence[Unit], pool: Pool) -> set[str]:
        if not units:
            return set()
        stage, place = units[0].stage, self.place
        quarantine = quarantine_of(self.folder.state, stage)
        runner = StageRunner(self.book, quarantine, self.claim, place.logs, place.emit, place.should_stop, self.makers)
        done = runner.run(stage, units, pool)
        tell_hot_pixels(done, place.emit)
        return set(done)


def _read_model(settings: PickSettings) -> Model:
    """Read the model whole, so that a damaged one is refused before anything is written."""
    assert settings.model is not None, "the settings require a model"
    path = find_model(settings.model)
    description, _ = read_picking_model(path)
    model = Model(path, checksum(path), description)
    if settings.pixel_size is not None and abs(settings.pixel_size / model.pixel_size - 1) > 0.01:
        raise ConfigError(
            f"--pixel-size {settings.pixel_size:g}: {path} was trained at {model.pixel_size:g} A per pixel and knows "
            "no other size; leave the option out"
        )
    return model


def _suffix_of(model: Path) -> str:
    """The model's name, as it becomes part of file names."""
    return "".join(
        letter if letter.isascii() and (letter.isalnum() or letter in "-_") else "_" for letter in model.stem
    )


def _rules(settings: PickSettings, model: Model) -> Rules:
    assert settings.diameter is not None, "the settings require a diameter"
    return Rules(
        threshold=float(model.description["threshold"]) if settings.threshold is None else settings.threshold,
        diameter=settings.diameter,
        min_distance=settings.min_distance,
        border=settings.border,
        mask_distance=settings.mask_distance,
    )


def _planned(
    settings: PickSettings,
    model: Model,
    rules: Rules,
    folder: PickFolder,
    micrograph: Path,
    reading: Mapping[str, str],
    book: ReceiptBook,
) -> Planned:
    name = micrograph.stem
    stage = f"candidates_{folder.suffix}"
    candidates = Unit(
        stage=stage,
        name=name,
        function="mwr_hpc.boxnet.pick:pick_micrograph",
        inputs={"micrograph": micrograph, "model": model.path},
        input_keys={"micrograph": fingerprint(micrograph), "model": model.checksum},
        parameters={
            "pixel_size": model.pixel_size,
            "angpix": settings.angpix,
            "contrast": settings.contrast,
            **reading,
        },
        target=folder.candidates(name),
        receipt=book.path(stage, name),
    )

    def written(stage: str, function: str, parameters: dict[str, Any], target: Path) -> Unit:
        return Unit(
            stage=stage,
            name=name,
            function=f"mwr_hpc.boxnet.publish:{function}",
            inputs={"candidates": candidates.target},
            input_keys={"candidates": candidates.key},
            parameters=parameters,
            target=target,
            receipt=book.path(stage, name),
        )

    files = [
        written(
            f"{kind}_{folder.suffix}",
            "write_particles",
            {"rules": asdict(rules), "format": kind},
            folder.particles(name, kind),
        )
        for kind in settings.formats
    ]
    if model.description.get("masks"):  # of another model they would say that nothing is contaminated
        files.append(written("mask", "write_contamination", {}, folder.mask(name)))
    return Planned(candidates, files)


def _longest_names(planned: Planned, folder: PickFolder) -> list[Path]:
    return [path for unit in planned.units for path in longest_names(unit, folder.state)]


def _kept(plan: Sequence[Planned], folder: PickFolder, book: ReceiptBook, emit: Emit) -> set[Path]:
    """The files that stay as they are: those that somebody corrected, and masks of another origin.

    Raises
    ------
    InputError
        Particles of another origin are where some shall be written.
    """
    found = [(unit, standing(unit, book)) for one in plan for unit in one.files]
    for unit, whose in found:
        if whose is Standing.FOREIGN and unit.stage != "mask":
            raise InputError(
                f"{unit.target}: is there, but this command did not make it; choose another --suffix than "
                f"{folder.suffix}, or move it away"
            )
    for path in (folder.list_of_all, folder.table):
        if path.exists() and not folder.record.exists():
            raise InputError(
                f"{path}: is there, but this command did not make it; choose another --suffix, or move it away"
            )
    kept = {unit.target for unit, whose in found if whose in (Standing.CORRECTED, Standing.FOREIGN)}
    for kind in sorted({path.parent for path in kept}):
        names = sorted(path.name for path in kept if path.parent == kind)
        text = f"left as corrected by hand in {kind}: {first_of(names)}; move files away to have them written again"
        emit(Notice(text))
    return kept


def _record(settings: PickSettings, model: Model, rules: Rules, folder: PickFolder) -> dict[str, Any]:
    """What judging the picks needs to know later."""
    return {
        "model": str(model.path),
        "checksum": model.checksum,
        "name": model.description.get("name", model.path.stem),
        "training_set": model.description.get("training_set", {}),
        "rules": asdict(rules),
        "micrographs": str(settings.micrographs),
        "angpix": settings.angpix,
        "pixel_size": model.pixel_size,
        "contrast": settings.contrast,
        "bytes": settings.bytes,
    }
