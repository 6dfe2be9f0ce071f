"""Simulates a tomogram with known truth: a crowded specimen, its noisy tilt series, weighted back-projection."""

import time
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import yaml
from scipy import fft

from mwr_hpc.config.bounded_yaml import load_yaml
from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.events import Emit, Notice, StageFinished, StageStarted, UnitFinished, ignore
from mwr_hpc.io.atomic import atomic_file, disk_full_reported, require_writable
from mwr_hpc.io.mrc import MrcWriter
from mwr_hpc.io.mrc_fields import Signedness
from mwr_hpc.io.volume import open_volume
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.wedge import check_tilt_range
from mwr_hpc.simulation import shapes
from mwr_hpc.simulation.projection import back_project, contrast_transfer, project, tilt_angles
from mwr_hpc.simulation.shapes import FloatArray
from mwr_hpc.simulation.specimen import Specimen

SPECIFICATION_NAME = "specification.yaml"
VOLUME_NAMES = ("truth", "mask", "even", "odd", "tomogram")

MASK_MARGIN = 2
"""Voxels around the material that the mask holds too."""


@dataclass(frozen=True)
class TomogramSpecification:
    """Everything that decides a simulated tomogram; the same values give the same bytes.

    Attributes
    ----------
    shape
        (nz, ny, nx).
    voxel_size
        Angstrom.
    tilt_range
        Lowest and highest tilt angle in degrees; both are measured.
    tilt_step
        Degrees between tilts, rounded so that a whole number of steps spans the range.
    snr
        Variance of the noise-free projections over that of the white noise added to them, within the tomogram's width
        and averaged over the tilts; the halves have half the dose each, so twice the noise variance. None: no noise.
    defocus
        Underfocus in micrometre of an uncorrected contrast transfer function (300 kV, Cs 2.7 mm). None: none.
    density_maps
        Files with one macromolecule each; none: the built-in species.
    particles
        How many macromolecules; None: as many as `crowding` takes.
    crowding
        Share of the volume that macromolecules occupy when `particles` is None.
    membranes, gold, filaments
        How many vesicles, gold beads and filaments.
    contrast
        Of all the volumes written, the truth among them: "dark" as a microscope's (protein is negative) or "bright".
    signedness
        Of the bytes of density maps of mode 0; None where the files tell.
    seed
        Of every random draw.

    Raises
    ------
    ConfigError
        A value that cannot work.
    """

    shape: tuple[int, int, int] = (96, 160, 160)
    voxel_size: float = 10.0
    tilt_range: tuple[float, float] = (-60.0, 60.0)
    tilt_step: float = 3.0
    snr: float | None = 1.0
    defocus: float | None = None
    density_maps: tuple[Path, ...] = ()
    particles: int | None = None
    crowding: float = 0.15
    membranes: int = 1
    gold: int = 3
    filaments: int = 2
    contrast: Literal["dark", "bright"] = "dark"
    signedness: Signedness | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            check_tilt_range(*self.tilt_range)
        except ValueError as error:
            raise ConfigError(f"tilt_range {self.tilt_range}: {error}") from error
        widest = self.tilt_range[1] - self.tilt_range[0]
        _require(len(self.shape) == 3 and min(self.shape) >= 16, "shape", self.shape, "three sizes of at least 16")
        _require(self.voxel_size >= 2, "voxel_size", self.voxel_size, "2 angstrom or more")
        _require(0 < self.tilt_step <= widest, "tilt_step", self.tilt_step, f"above 0, at most {widest:g} degrees")
        _require(self.snr is None or self.snr > 0, "snr", self.snr, "more than 0, or none for no noise")
        _require(0 <= self.crowding <= 0.5, "crowding", self.crowding, "a share of the volume from 0 to 0.5")
        for name in ("particles", "membranes", "gold", "filaments"):
            count = getattr(self, name)
            _require(count is None or count >= 0, name, count, "0 or more")
        _require(self.contrast in ("dark", "bright"), "contrast", self.contrast, "dark or bright")

    def as_record(self) -> dict[str, Any]:
        """Plain values for a YAML file."""
        record = asdict(self) | {"density_maps": [str(path) for path in self.density_maps]}
        if self.signedness is None:  # what version 0.1.0 made goes on
            del record["signedness"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in record.items()}


def simulate_tomogram(specification: TomogramSpecification, out: Path, emit: Emit = ignore) -> dict[str, Path]:
    """Write truth.mrc, tomogram.mrc, even.mrc, odd.mrc, mask.mrc and specification.yaml into `out`.

    The truth has the contrast and grey scale of the tomogram: it is what a reconstruction without a missing wedge and
    noise would be. The tomogram is the mean of its halves. What is complete already is left as it is.

    Parameters
    ----------
    specification
        What to simulate.
    out
        A folder, made if need be.
    emit
        Told of each volume written.

    Returns
    -------
    The paths by name: "truth", "mask", "even", "odd", "tomogram".

    Raises
    ------
    ConfigError
        `out` holds a tomogram of another specification.
    InputError
        A density map cannot be read.
    """
    paths = {name: out / f"{name}.mrc" for name in VOLUME_NAMES}
    done = _is_complete(specification, out, paths)
    emit(StageStarted("simulate", len(paths), len(paths) if done else 0))
    if done:
        emit(StageFinished("simulate", 0, len(paths), 0, 0.0))
        return paths
    require_writable(out)
    began = time.perf_counter()
    sign = -1 if specification.contrast == "dark" else 1

    def write(name: str, volume: npt.NDArray[Any]) -> None:
        _write_volume(paths[name], volume, specification.voxel_size)
        emit(UnitFinished("simulate", name, time.perf_counter() - began))

    specimen = make_specimen(specification, emit)
    with disk_full_reported(out):
        out.mkdir(parents=True, exist_ok=True)
    write("truth", sign * specimen.density)
    write("mask", specimen.material(MASK_MARGIN).astype(np.int8))
    even, odd = noisy_tilt_series(specimen.density, specification)
    del specimen
    angles = tilt_angles(specification.tilt_range, specification.tilt_step)
    depth, _, width = specification.shape
    mean = np.zeros(specification.shape, np.float32)
    for name, series in (("even", even), ("odd", odd)):
        half = sign * back_project(series, angles, depth, width)
        write(name, half)
        mean += half / 2
    write("tomogram", mean)
    with atomic_file(out / SPECIFICATION_NAME) as partial:
        partial.write_text(yaml.safe_dump(specification.as_record(), sort_keys=False))
    emit(StageFinished("simulate", len(paths), 0, 0, time.perf_counter() - began))
    return paths


def make_specimen(specification: TomogramSpecification, emit: Emit = ignore) -> Specimen:
    """The specimen without noise: large things first, then macromolecules in what room is left."""
    specimen = Specimen(specification.shape, specification.voxel_size, specification.seed)
    species = _species(specification)
    largest = 0.35 * min(specification.shape) * specification.voxel_size
    placed = {
        "membranes": specimen.fill(
            "membranes",
            lambda generator: shapes.Vesicle(min(largest, 320.0) * generator.uniform(0.6, 1.0, 3)),
            specification.membranes,
        ),
        "filaments": specimen.fill("filaments", lambda _: shapes.filament(length=700.0), specification.filaments),
        "gold": specimen.fill("gold", lambda _: shapes.GoldBead(diameter=100.0), specification.gold),
        "particles": specimen.fill(
            "particles",
            lambda generator: species[generator.integers(len(species))],
            specification.particles,
            1.0 if specification.particles is not None else specification.crowding,
        ),
    }
    for kind, count in placed.items():
        wanted = getattr(specification, kind)
        if wanted is not None and count < wanted:
            emit(Notice(f"only {count} of {wanted} {kind} found room in {specification.shape} voxels", warning=True))
    return specimen


def noisy_tilt_series(density: FloatArray, specification: TomogramSpecification) -> tuple[FloatArray, FloatArray]:
    """The tilt series of two halves of the dose, (n, ny, detector_width) each, with independent noise.

    Parameters
    ----------
    density
        Shape (nz, ny, nx).
    specification
        Tilts, defocus, SNR and seed.
    """
    angles = tilt_angles(specification.tilt_range, specification.tilt_step)
    series = project(density, angles)
    if specification.defocus is not None:
        _, rows, pixels = series.shape
        transfer = contrast_transfer((rows, pixels), specification.voxel_size, specification.defocus)
        series = fft.irfft2(fft.rfft2(series) * transfer, (rows, pixels))
    if specification.snr is None:
        return series, series
    margin = (series.shape[2] - density.shape[2]) // 2
    signal = series[:, :, margin : margin + density.shape[2]].var(axis=(1, 2), dtype=np.float64).mean()
    sigma = np.float32(np.sqrt(2 * signal / specification.snr))

    def half(name: str) -> FloatArray:
        noisy = np.empty_like(series)
        for index, image in enumerate(series):
            generator = keyed_generator(specification.seed, f"simulated noise, {name} half", index=index)
            noisy[index] = image + sigma * generator.standard_normal(image.shape, np.float32)
        return noisy

    return half("even"), half("odd")


def _species(specification: TomogramSpecification) -> tuple[shapes.Shape, ...]:
    if not specification.density_maps:
        return shapes.built_in_species()
    return tuple(_map_model(path, specification.signedness) for path in specification.density_maps)


def _map_model(path: Path, signedness: Signedness | None) -> shapes.MapModel:
    volume = open_volume(path, signedness)
    density, voxel_size = np.asarray(volume.data, np.float32), volume.voxel_size[0]
    if voxel_size <= 0:
        raise InputError(f"{path}: the header has no voxel size; a density map needs one, in angstrom")
    if not (np.isfinite(density).all() and density.max() > 0):
        raise InputError(f"{path}: a density map must be finite and positive where the molecule is; is it inverted?")
    model = shapes.MapModel(density, voxel_size)
    if model.radius > shapes.LARGEST_REACH:
        raise InputError(
            f"{path}: the molecule reaches {model.radius:.0f} angstrom from its centre, at most "
            f"{shapes.LARGEST_REACH:.0f} can be placed; check the voxel size in its header ({voxel_size:g} A)"
        )
    return model


def _is_complete(specification: TomogramSpecification, out: Path, paths: dict[str, Path]) -> bool:
    record = out / SPECIFICATION_NAME
    if not record.exists():
        return False
    found, wanted = load_yaml(record.read_text()), specification.as_record()
    if found == wanted:
        return all(path.exists() for path in paths.values())
    different = ", ".join(
        f"{field.name} {found.get(field.name)} (now {wanted.get(field.name)})"
        for field in fields(specification)
        if found.get(field.name) != wanted.get(field.name)
    )
    raise ConfigError(f"{out} holds a tomogram simulated with {different}; give another folder, or delete it first")


def _write_volume(path: Path, volume: npt.NDArray[Any], voxel_size: float) -> None:
    with atomic_file(path) as partial, MrcWriter(partial, volume.shape, volume.dtype, voxel_size=voxel_size) as writer:
        writer.write(0, volume)


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ConfigError(f"{name} is {value}; it must be {expected}")
