"""``mwr-hpc plan predict``: what a prediction will make and need, before anything runs; see `plan`."""

import numpy as np

from mwr_hpc.config.schema import PredictSettings
from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.events import ignore
from mwr_hpc.io.volume import open_volume
from mwr_hpc.missing_wedge.correct import SECTIONS_AT_ONCE, choose_sizes, fitting_batch
from mwr_hpc.missing_wedge.predict import precision_here
from mwr_hpc.numerics.tiling import plan_tiles
from mwr_hpc.pipeline import plan_memory as memory
from mwr_hpc.pipeline import plan_sizes as sizes
from mwr_hpc.pipeline.plan import Plan, StagePlan, free_bytes
from mwr_hpc.pipeline.plan_sizes import Size
from mwr_hpc.pipeline.prediction import read_models, read_tomograms
from mwr_hpc.printable import printable
from mwr_hpc.training.model_file import read_description


def plan_predict(settings: PredictSettings) -> Plan:
    """Plan a prediction.

    Raises
    ------
    InputError
        A model or a list cannot be read.
    ConfigError
        Two models of one name, or a share of the work.
    """
    if settings.share is not None:
        raise ConfigError(f"--share {settings.share}: only the whole of a sweep is planned; leave the option out")
    cohort, models = read_tomograms(settings, ignore), read_models(settings)
    if not cohort.entries:
        raise InputError("no tomogram can be used:\n" + "\n".join(map(printable, cohort.problems.values())))
    dtype, as_zarr = np.dtype(settings.dtype), settings.format != "mrc"
    # What comes out of the network compresses like its input at best; samples of it do not exist yet.
    ratios = sizes.sampled_ratios(cohort.entries) if as_zarr else {}
    results, figures, copies, peak_memory = Size(), Size(), Size(), 0
    for model in models:
        description = read_description(model.path)
        architecture, precision = description["architecture"], precision_here(description)
        chosen = choose_sizes(settings.cube_size, settings.crop_size, architecture)
        for entry in cohort.entries:
            volume = open_volume(entry.path, entry.signedness)
            tiles = plan_tiles(volume.shape, chosen.tile, chosen.core, 2 ** architecture["depth"])
            batch = min(len(tiles), fitting_batch(tiles.tile_shape, architecture, settings.batch_size))
            needed = memory.correcting(
                *(volume, tiles, batch, architecture, precision),
                sections_at_once=SECTIONS_AT_ONCE,
                as_zarr=settings.format == "ome-zarr",
            )
            peak_memory = max(peak_memory, needed)
            if settings.format == "ome-zarr":
                results += sizes.converted(volume, dtype, ratios.get(dtype.name, [1.0]), "correct")
            else:
                results += sizes.corrected_mrc(volume, dtype)
            figures += sizes.figure(volume)
            if settings.format == "both":
                copies += sizes.converted(volume, dtype, ratios.get(dtype.name, [1.0]))
    count = len(models) * len(cohort.entries)
    stages = [
        StagePlan("correct", count, results.files, results.bytes, peak_memory),
        StagePlan("figure", count, figures.files, figures.bytes, peak_memory),
    ]
    if settings.format == "both":
        stages.append(StagePlan("copy to OME-Zarr", count, copies.files, copies.bytes, peak_memory))
    tables = 3  # the two tables of results and their guard
    receipts = sizes.RECEIPT_BYTES["correct"] + sizes.RECEIPT_BYTES["figure"]
    receipts += sizes.RECEIPT_BYTES["convert"] if settings.format == "both" else 0
    units = count * len(stages)
    text = count * (receipts + 560) + units * sizes.UNIT_EVENT_BYTES
    notes = Size(3 + len(models) * len(stages) + tables, text + len(models) * len(stages) * sizes.STAGE_EVENT_BYTES)
    left = results + figures + copies + notes
    return Plan(
        *("predict", settings.out, len(cohort.entries), dict(cohort.problems), stages, left, left, 0, ratios),
        free_bytes(settings.out),
    )
