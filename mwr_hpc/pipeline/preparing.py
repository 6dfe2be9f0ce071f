"""``mwr-hpc make-mask`` and ``generate-noise``: units of work on this machine, each skipped once it is done."""

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from mwr_hpc.cluster.local_pool import local_pool
from mwr_hpc.cluster.pool import InlinePool, Pool, available_cores
from mwr_hpc.config.schema import GenerateNoiseSettings, MakeMaskSettings
from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.events import Emit, ShouldStop
from mwr_hpc.io.atomic import named_within_limits, partial_path, require_writable
from mwr_hpc.io.volume import MRC_SUFFIXES
from mwr_hpc.missing_wedge.cohort import cohort_from_files, tomogram_files
from mwr_hpc.missing_wedge.entries import MASK_END, without_long_names
from mwr_hpc.numerics.wedge import effective_tilt_range
from mwr_hpc.pipeline.assumptions import tell_assumptions
from mwr_hpc.pipeline.receipts import fingerprint
from mwr_hpc.pipeline.result_folder import book_of, working_in
from mwr_hpc.pipeline.stages import Outcome
from mwr_hpc.pipeline.training_units import stated_bytes
from mwr_hpc.pipeline.units import Unit, require_own_targets
from mwr_hpc.printable import printable

NOISE_STAGE = "generate_noise"


def make_masks(settings: MakeMaskSettings, emit: Emit, should_stop: ShouldStop) -> Outcome:
    """Make the masks of one tomogram or of a folder of them.

    Returns
    -------
    Outcome
        The masks, and the tomograms that failed with their reasons.

    Raises
    ------
    ConfigError
        One mask file is named for a folder of tomograms.
    InputError
        No input can be used, two have one id, a mask's place is taken by something else, or no space is left.
    StopRequested
        After a stop in good order.
    """
    assert settings.input is not None, "the schema requires it"
    to_file = settings.out.suffix.lower() in MRC_SUFFIXES
    if to_file and settings.input.is_dir():
        raise ConfigError(f"--out {settings.out}: one mask, but {settings.input} is a folder; name a folder for masks")
    folder = settings.out.parent if to_file else settings.out
    require_writable(folder)
    cohort = cohort_from_files(tomogram_files([settings.input]), None, settings.bytes)
    tell_assumptions(cohort, emit)
    if to_file:
        named_within_limits(settings.out, "--out")
    cohort = without_long_names(cohort, lambda name: [partial_path(folder / f"{name}{MASK_END}.mrc")])
    book = book_of(folder)
    parameters = settings.model_dump(include={"side", "percentile", "threshold", "z_crop", "contrast"})
    units = [
        Unit(
            stage="make_mask",
            name=entry.id,
            function="mwr_hpc.missing_wedge.make_mask:make_mask",
            inputs={"tomogram": entry.path},
            input_keys={"tomogram": fingerprint(entry.path)},
            parameters={**parameters, **stated_bytes(entry)},
            target=settings.out if to_file else folder / f"{entry.id}{MASK_END}.mrc",
            receipt=book.path("make_mask", entry.id),
        )
        for entry in cohort.entries
    ]
    require_own_targets(units, book)
    workers = min(settings.preprocessing_ncpus or available_cores(), len(units))
    pool = local_pool if workers > 1 else lambda _: nullcontext(InlinePool())
    done, failed = _run(units, folder, cohort.ids, lambda: pool(workers), emit, should_stop)
    failed = cohort.problems | failed
    if not done:
        listed = "\n".join(printable(f"{identifier}: {reason}") for identifier, reason in failed.items())
        raise InputError(f"no mask could be made:\n{listed}")
    return Outcome(failed, done)


def generate_noise(settings: GenerateNoiseSettings, emit: Emit, should_stop: ShouldStop) -> Outcome:
    """Make noise volumes for training.

    Returns
    -------
    Outcome
        The array.

    Raises
    ------
    InputError
        Something else is where the array shall be, or no space is left.
    StopRequested
        After a stop in good order.
    """
    out = settings.out
    require_writable(out.parent)
    named_within_limits(out, "--out")
    book = book_of(out.parent)
    unit = Unit(
        stage=NOISE_STAGE,
        name=out.name,
        function="mwr_hpc.missing_wedge.generate_noise:generate_noise",
        inputs={},
        input_keys={},
        parameters={
            **settings.model_dump(include={"number", "cube_size", "tilt_step", "filter", "seed"}),
            "tilt_range": list(effective_tilt_range(settings.tilt_range, settings.flip_tilt)),
        },
        target=out,
    )
    require_own_targets([unit], book)
    done, failed = _run([unit], out.parent, {out.name}, lambda: nullcontext(InlinePool()), emit, should_stop)
    return Outcome(failed, done)


def _run(
    units: list[Unit],
    folder: Path,
    identifiers: Collection[str],
    pool: Callable[[], AbstractContextManager[Pool]],
    emit: Emit,
    should_stop: ShouldStop,
) -> tuple[list[Path], dict[str, str]]:
    """Do the units of one stage; return what was published, and what failed with its reason."""
    with working_in(folder, units, emit, should_stop) as runner, pool() as running:
        done = runner.run(units[0].stage, units, running)
    return [unit.target for unit in units if unit.name in done], runner.quarantine.reasons(identifiers)
