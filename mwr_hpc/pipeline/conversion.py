"""``mwr-hpc convert``: tomograms to OME-Zarr, on all cores, each skipped once it is done."""

from mwr_hpc.cluster.pool import available_cores, local_pool
from mwr_hpc.config.schema import ConvertSettings
from mwr_hpc.errors import InputError
from mwr_hpc.events import Emit, ShouldStop
from mwr_hpc.io.atomic import require_writable
from mwr_hpc.io.volume import MRC_SUFFIXES, is_ome_zarr
from mwr_hpc.missing_wedge.cohort import cohort_from_files, volumes_named
from mwr_hpc.pipeline.receipts import fingerprint
from mwr_hpc.pipeline.result_folder import book_of, working_in
from mwr_hpc.pipeline.stages import Outcome, nothing_usable
from mwr_hpc.pipeline.telling_defects import tell_defects
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
    cohort = cohort_from_files([path for path in volumes_named(settings.inputs) if not is_ome_zarr(path)], None)
    units = [
        Unit(
            stage="convert",
            name=entry.id,
            function="mwr_hpc.missing_wedge.convert:convert_tomogram",
            inputs={"tomogram": entry.path},
            input_keys={"tomogram": fingerprint(entry.path)},
            parameters={},
            target=settings.out / f"{entry.id}.ome.zarr",
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
