"""``mwr-hpc boxnet examples prepare``: corrected micrographs to a store of examples, each skipped once it is done."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path

from mwr_hpc.boxnet.examples import INDEX, Entry, write_index
from mwr_hpc.boxnet.matching import ExampleFiles, excluded_notice, find_examples
from mwr_hpc.boxnet.prepare_example import OUTSIDE_COUNT, UPSIDE_DOWN
from mwr_hpc.cluster.local_pool import local_pool
from mwr_hpc.cluster.pool import InlinePool, Pool, available_cores
from mwr_hpc.config.boxnet_data import PrepareExamplesSettings
from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.events import Emit, Notice, ShouldStop
from mwr_hpc.io import storage
from mwr_hpc.io.atomic import require_writable
from mwr_hpc.io.micrograph import pixel_size_of, require_one_pixel_size
from mwr_hpc.io.names import long_names
from mwr_hpc.pipeline.assumptions import readings_of
from mwr_hpc.pipeline.makers import remove_damaged
from mwr_hpc.pipeline.receipts import fingerprint
from mwr_hpc.pipeline.result_folder import book_of, working_in
from mwr_hpc.pipeline.stages import Outcome, nothing_usable
from mwr_hpc.pipeline.telling_defects import tell_hot_pixels
from mwr_hpc.pipeline.units import Unit, longest_names, require_own_targets
from mwr_hpc.printable import first_of
from mwr_hpc.run_directory import STATE_FOLDER

MATCHING, MASK = "matching", "mask"
"""Warp's folders beside the micrographs: picks, masks."""

STAGE = "prepare_example"
PARALLEL_FROM = 4
"""Micrographs that are worth the seconds in which worker processes start."""


def prepare_examples(settings: PrepareExamplesSettings, emit: Emit, should_stop: ShouldStop) -> Outcome:
    """Make the examples of all micrographs with positives.

    Returns
    -------
    Outcome
        The store, and the micrographs that failed with their reasons.

    Raises
    ------
    ConfigError
        A folder that is taken by default is not there.
    InputError
        Files are missing or ambiguous, pixel sizes differ, or no micrograph can be used.
    StopRequested
        After a stop in good order.
    """
    assert settings.micrographs is not None, "the schema requires it"
    positives = settings.positives or settings.micrographs / MATCHING
    if not positives.exists():
        raise ConfigError(f"--positives {positives}: does not exist; name a STAR file or a folder of them")
    masks = settings.masks or settings.micrographs / MASK
    store = settings.folder
    examples = find_examples(
        settings.micrographs,
        positives,
        settings.important_suffix,
        settings.uncertain_suffix,
        masks if masks.is_dir() else None,
        emit,
    )
    if settings.masks is not None and not any(example.mask for example in examples):
        raise InputError(f"{masks}: no mask of any of the micrographs; expected <micrograph>.tif or .mrc")
    problems = _checked_pixel_sizes(examples, settings)
    opened = [example for example in examples if example.name not in problems]
    readings = readings_of([example.micrograph for example in opened], settings.bytes, emit)
    units = {example.name: _unit(example, settings, store, readings[example.micrograph]) for example in opened}
    problems |= long_names(units, lambda name: longest_names(units[name], store / STATE_FOLDER))
    usable = [example for example in examples if example.name not in problems]
    if not usable:
        raise nothing_usable("micrographs can be used", problems)
    require_writable(store)
    chosen = [units[example.name] for example in usable]
    require_own_targets(chosen, book_of(store))
    _tell_of_masks(usable, emit)
    done, failed = _run(chosen, settings.preprocessing_ncpus, store, emit, should_stop)
    failed = problems | failed
    if not done:
        raise nothing_usable("micrographs could be prepared", failed)
    write_index(store, done, settings.pixel_size, settings.val_fraction, settings.seed, settings.micrographs)
    return Outcome(failed, [store])


def _checked_pixel_sizes(examples: list[ExampleFiles], settings: PrepareExamplesSettings) -> dict[str, str]:
    """See that all micrographs have one pixel size; return those that cannot be opened, with the reasons."""
    sizes, problems = [], {}
    for example in examples:
        try:
            read = partial(pixel_size_of, example.micrograph, settings.angpix, settings.bytes)
            sizes.append((example.micrograph, storage.patiently(read, example.micrograph, storage.PAUSES)))
        except InputError as error:
            problems[example.name] = str(error)
    if sizes:
        require_one_pixel_size(sizes)
    return problems


def _tell_of_masks(examples: list[ExampleFiles], emit: Emit) -> None:
    without = [example.name for example in examples if example.mask is None]
    if without and len(without) < len(examples):
        emit(
            Notice(
                f"{len(without)} of {len(examples)} micrographs have no mask, {without[0]} among them: training does "
                "not take their background for free of contamination"
            )
        )


def _tell_of_rows(upside_down: list[str], emit: Emit) -> None:
    """Warn of masks that fit better with their rows reversed; `upside_down` are their micrographs."""
    if upside_down:
        text = (
            f"the masks of {first_of(upside_down)} fit their micrographs better upside down: the first "
            "row of a TIFF is the top of the picture, that of an MRC file its bottom. Save masks that were made in the "
            "order of an MRC file's rows as <micrograph>.mrc, or reverse their rows"
        )
        emit(Notice(text, warning=True))


def _unit(example: ExampleFiles, settings: PrepareExamplesSettings, store: Path, reading: Mapping[str, str]) -> Unit:
    inputs = {
        "micrograph": example.micrograph,
        "positives": example.positives,
        "important": example.important,
        "uncertain": example.uncertain,
        "mask": example.mask,
    }
    return Unit(
        stage=STAGE,
        name=example.name,
        function="mwr_hpc.boxnet.prepare_example:prepare_example",
        inputs=inputs,
        input_keys={kind: fingerprint(path) for kind, path in inputs.items()},
        parameters={
            "name": example.name,
            "merged": example.merged,
            **reading,
            **({"listed": example.listed} if example.listed is not None else {}),
            **settings.model_dump(
                include={"angpix", "pixel_size", "contrast", "diameter", "important_weight", "border"}
            ),
        },
        target=store / example.name,
    )


def _run(
    units: list[Unit], processes: int | None, store: Path, emit: Emit, should_stop: ShouldStop
) -> tuple[list[Entry], dict[str, str]]:
    """Do the units; return what is done, and what failed with its reason."""
    workers = min(processes or available_cores(), len(units))
    pool: Callable[[int], AbstractContextManager[Pool]] = local_pool
    if workers == 1 or len(units) < PARALLEL_FROM:
        pool = _inline_pool
    with working_in(store, units, emit, should_stop) as runner:
        remove_damaged(units, emit)
        if runner.unfinished(STAGE, units):
            # What the table said of an earlier call's examples does not hold for these.
            (store / INDEX).unlink(missing_ok=True)
        with pool(workers) as running:
            done = runner.run(STAGE, units, running)
            tell_hot_pixels(done, emit)
    outside = {name: int(count) for name, receipt in done.items() if (count := receipt.figures.get(OUTSIDE_COUNT))}
    if outside:
        emit(excluded_notice(outside))
    failed = runner.quarantine.reasons([unit.name for unit in units])
    _tell_of_rows([name for name, receipt in done.items() if receipt.figures.get(UPSIDE_DOWN)], emit)
    return [Entry.from_figures(receipt.figures) for receipt in done.values()], failed


def _inline_pool(_: int) -> AbstractContextManager[Pool]:
    return nullcontext(InlinePool())
