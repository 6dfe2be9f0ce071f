"""``mwr-hpc convert``: tomograms to OME-Zarr, on all cores, each skipped once it is done."""

from pathlib import Path

from mwr_hpc.cluster.local_pool import local_pool
from mwr_hpc.cluster.pool import available_cores
from mwr_hpc.config.schema import ConvertSettings
from mwr_hpc.errors import InputError
from mwr_hpc.events import Emit, ShouldStop
from mwr_hpc.io.atomic import partial_path, require_writable
from mwr_hpc.io.volume import MRC_SUFFIXES, OME_ZARR_SUFFIX, is_ome_zarr
from mwr_hpc.missing_wedge.cohort import cohort_from_files, volumes_named
from mwr_hpc.missing_wedge.entries import without_long_names
from mwr_hpc.pipeline.assumptions import tell_assumptions
from mwr_hpc.pipeline.receipts import fingerprint
from mwr_hpc.pipeline.result_folder import book_of, working_in
from mwr_hpc.pipeline.stages import Outcome, nothing_usable
from mwr_hpc.pipeline.telling_defects import tell_defects
from mwr_hpc.pipeline.training_units import stated_bytes
from mwr_hpc.pipeline.units import Unit, require_own_targets


def convert(settings: ConvertSettings, emit: Emit, should_stop: ShouldStop) -> Outcome:
    """Convert MRC volumes to OME-Zarr.

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
        The converted tomograms, and those that failed with their reasons.

    Raises
    ------
    InputError
        No input can be used, two have one id, something else is where a result shall be, or no space is left.
    StopRequested
        After a stop in good order.
    """
    require_writable(settings.out)
    given = [path for path in settings.inputs if is_ome_zarr(path)]
    if given:
        raise InputError(f"{given[0]}: is OME-Zarr already; name MRC files ({', '.join(MRC_SUFFIXES)}) to convert")
    files = [path for path in volumes_named(settings.inputs) if not is_ome_zarr(path)]
    cohort = cohort_from_files(files, None, settings.bytes)
    tell_assumptions(cohort, emit)
    cohort = without_long_names(cohort, lambda name: [partial_path(_target(settings.out, name))])
    units = [
        Unit(
            stage="convert",
            name=entry.id,
            function="mwr_hpc.missing_wedge.convert:convert_tomogram",
            inputs={"tomogram": entry.path},
            input_keys={"tomogram": fingerprint(entry.path)},
            parameters=stated_bytes(entry),
            target=_target(settings.out, entry.id),
        )
        for entry in cohort.entries
    ]
    require_own_targets(units, book_of(settings.out))
    failed = dict(cohort.problems)
    done = {}
    if units:
        with (
            working_in(settings.out, units, emit, should_stop) as runner,
            local_pool(min(settings.preprocessing_ncpus or available_cores(), len(units))) as pool,
        ):
            done = runner.run("convert", units, pool)
            tell_defects(done, emit)
        failed |= runner.quarantine.reasons(cohort.ids)
    if not done:
        raise nothing_usable("inputs could be converted", failed)
    return Outcome(failed, [unit.target for unit in units if unit.name in done])


def _target(folder: Path, identifier: str) -> Path:
    return folder / f"{identifier}{OME_ZARR_SUFFIX}"
