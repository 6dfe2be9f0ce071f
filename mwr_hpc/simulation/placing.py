"""Where the particles of a simulated micrograph are, how they lie, and what broken ones look like."""

import numpy as np

from mwr_hpc.simulation.contamination import BoolArray, paste
from mwr_hpc.simulation.exposure import Field
from mwr_hpc.simulation.shapes import FloatArray, Matrix
from mwr_hpc.simulation.species import Species, random_rotations

SPACING = 0.85
"""Diameters that centres of particles keep from one another: most are narrower across than along."""

CENTRES_TRIED = 30
"""Places tried for each particle before the field counts as full."""


def scatter(
    field: Field, mask: BoolArray, count: int, broken: int, species: Species, generator: np.random.Generator
) -> tuple[Matrix, Matrix]:
    """Places, (n, 2) y x in the field's pixels, of whole particles and of broken ones.

    As many as asked for lie in the micrograph, if they find room, and as many for their area in the margin around it.
    """
    share = field.shape[0] * field.shape[1] * field.pixel_size**2 / field.area - 1
    wanted = {(True, True): count, (True, False): round(share * count)}
    wanted |= {(False, True): broken, (False, False): round(share * broken)}
    missing = sum(wanted.values())
    candidates = generator.uniform(0, np.array(field.shape) - 1, (CENTRES_TRIED * missing, 2))
    pixels = np.round(candidates).astype(int)
    closest = SPACING * species.diameter / field.pixel_size
    reach = int(np.ceil(closest))
    blocked = mask.copy()
    placed: dict[bool, list[Matrix]] = {True: [], False: []}
    for place, (row, column), inside in zip(candidates, pixels, field.contains(candidates), strict=True):
        whole = wanted[True, inside] > 0
        if blocked[row, column] or not wanted[whole, inside]:
            continue
        wanted[whole, inside] -= 1
        placed[whole].append(place)
        top, left = max(row - reach, 0), max(column - reach, 0)
        around = blocked[top : row + reach + 1, left : column + reach + 1]
        y, x = (np.arange(size) + start for size, start in zip(around.shape, (top, left), strict=True))
        around |= (y[:, None] - place[0]) ** 2 + (x - place[1]) ** 2 < closest**2
        missing -= 1
        if not missing:
            break
    return np.array(placed[True]).reshape(-1, 2), np.array(placed[False]).reshape(-1, 2)


def draw(
    canvas: FloatArray, species: Species, places: Matrix, pixel_size: float, generator: np.random.Generator
) -> None:
    """Add one particle at each place, turned at random; ice thickness makes some fainter."""
    whole = np.floor(places).astype(int)
    images = species.project(random_rotations(generator, len(places)), places - whole, pixel_size)
    brightness = generator.uniform(0.8, 1.2, len(places)).astype(np.float32)
    half = images.shape[1] // 2
    for image, (row, column), factor in zip(images, whole, brightness, strict=True):
        paste(canvas, factor * image, row - half, column - half)


def fragment_of(species: Species, generator: np.random.Generator) -> Species:
    """What is left of a molecule that broke along a plane: a third to two thirds of it."""
    direction = generator.standard_normal(3)
    direction /= np.linalg.norm(direction)
    grid = np.indices(species.density.shape) - species.centre[:, None, None, None]
    height = np.tensordot(direction, grid, axes=1)
    inside = species.density > 0.1 * species.density.max()
    cut = np.quantile(height[inside], generator.uniform(0.35, 0.65))
    kept = species.density * np.clip(height - cut + 0.5, 0, 1).astype(np.float32)
    return Species(f"{species.name}_fragment", kept, species.voxel_size)
