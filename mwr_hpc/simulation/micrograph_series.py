"""Writes simulated micrographs with their truth, as a picker's user would have them after much careful work."""

import time
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median

import yaml

from mwr_hpc.config.bounded_yaml import load_yaml
from mwr_hpc.errors import ConfigError, StopRequested
from mwr_hpc.events import Emit, ShouldStop, StageFinished, StageStarted, UnitFinished, ignore, never
from mwr_hpc.io.atomic import atomic_file, disk_full_reported, require_writable
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.picks import write_picks
from mwr_hpc.io.star_text import read_tables, write_table
from mwr_hpc.io.tiff import write_mask
from mwr_hpc.simulation.micrograph import Micrograph, MicrographSpecification, conditions_of, simulate_micrograph

SPECIFICATION_NAME = "specification.yaml"
TABLE_NAME = "micrographs.star"
STAGE = "simulate"
DIAMETER = "mwrDiameter"


@dataclass(frozen=True)
class SeriesPaths:
    """Where the parts of one micrograph of a series are."""

    micrograph: Path
    truth: Path
    junk: Path
    mask: Path


def series_paths(out: Path, index: int) -> SeriesPaths:
    """Where the parts of a micrograph of the series in the folder `out` are."""
    stem = f"mic_{index:05d}"
    return SeriesPaths(
        micrograph=out / f"{stem}.mrc",
        truth=out / "truth" / f"{stem}.star",
        junk=out / "junk" / f"{stem}.star",
        mask=out / "mask" / f"{stem}.tif",
    )


def simulate_micrographs(
    specification: MicrographSpecification,
    number: int,
    out: Path,
    emit: Emit = ignore,
    should_stop: ShouldStop = never,
) -> list[Path]:
    """Write micrographs 0 to `number` - 1 of a series.

    Into `out`: mic_00000.mrc and so on, truth/ and junk/ (STAR: the particles; broken ones, which are none), mask/
    (TIFF: contamination), micrographs.star (species, diameter, defocus and SNR of each) and specification.yaml. What is
    there already is left as it is, so that more can be added later.

    Returns
    -------
    The micrographs.

    Raises
    ------
    ConfigError
        `out` holds a series of another specification.
    InputError
        A density map cannot be used.
    StopRequested
        After a stop in good order.
    """
    require_writable(out)
    _check_specification(specification, out)
    waiting = [index for index in range(number) if not series_paths(out, index).micrograph.exists()]
    skipped = number - len(waiting)
    emit(StageStarted(STAGE, number, skipped))
    began = time.perf_counter()
    with disk_full_reported(out):
        for path in vars(series_paths(out, 0)).values():
            path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(out / SPECIFICATION_NAME) as partial:
            partial.write_text(yaml.safe_dump(specification.to_record(), sort_keys=False))
    for done, index in enumerate(waiting):
        if should_stop():
            raise StopRequested(f"{skipped + done} of {number} micrographs are written")
        started = time.perf_counter()
        paths = series_paths(out, index)
        write_micrograph(simulate_micrograph(specification, index), paths, specification.pixel_size)
        emit(UnitFinished(STAGE, paths.micrograph.stem, time.perf_counter() - started))
    _write_table(specification, number, out)
    emit(StageFinished(STAGE, len(waiting), skipped, 0, time.perf_counter() - began))
    return [series_paths(out, index).micrograph for index in range(number)]


def write_micrograph(micrograph: Micrograph, paths: SeriesPaths, pixel_size: float) -> None:
    """Write the parts of one micrograph, the micrograph itself last: once it is there, all of it is.

    Parameters
    ----------
    micrograph
        As simulated.
    paths
        Of its parts; the folders exist.
    pixel_size
        Angstrom.
    """
    name = paths.micrograph.name
    for path, positions in ((paths.truth, micrograph.positions), (paths.junk, micrograph.junk)):
        write_picks(path, positions[:, 1], positions[:, 0], name)
    write_mask(paths.mask, micrograph.mask)
    image = micrograph.image[None]
    with (
        atomic_file(paths.micrograph) as partial,
        MrcWriter(partial, image.shape, image.dtype, voxel_size=pixel_size, label="mwr_hpc simulated") as writer,
    ):
        writer.write(0, image)


def typical_diameter(out: Path) -> float:
    """The median diameter, in angstrom, of the particles in the micrographs of a series that is written."""
    (table,) = read_tables(out / TABLE_NAME)
    return median(float(text) for text in table.columns[DIAMETER])


def _write_table(specification: MicrographSpecification, number: int, out: Path) -> None:
    rows = []
    for index in range(number):
        conditions = conditions_of(specification, index)
        rows.append(
            {
                "rlnMicrographName": series_paths(out, index).micrograph.name,
                "rlnMicrographPixelSize": f"{specification.pixel_size:g}",
                "rlnDefocusU": f"{1e4 * conditions.defocus:.1f}",
                "mwrSpecies": conditions.species.name,
                DIAMETER: f"{conditions.species.diameter:.1f}",
                "mwrSnr": "None" if conditions.snr is None else f"{conditions.snr:.4f}",
                "mwrSmoothing": f"{conditions.smoothing:.2f}",
            }
        )
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    write_table(out / TABLE_NAME, columns, "micrographs")


def _check_specification(specification: MicrographSpecification, out: Path) -> None:
    path = out / SPECIFICATION_NAME
    if not path.exists():
        return
    found, wanted = load_yaml(path.read_text()), specification.to_record()
    if found != wanted:
        different = ", ".join(
            f"{field.name} {found.get(field.name)} (now {wanted.get(field.name)})"
            for field in fields(specification)
            if found.get(field.name) != wanted.get(field.name)
        )
        raise ConfigError(f"{out} holds micrographs simulated with {different}; give another folder")
