"""From what a network thinks of every pixel to a list of particles, by the rules that a user would have picked by.

Everything is in pixels of the map, which is the micrograph at the working pixel size; positions are (y, x), and 0 is
the centre of the first pixel.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from mwr_hpc.boxnet.labels import BACKGROUND, CONTAMINATION, PARTICLE, disc_radius

LEAST_SPECK = 20
"""Pixels that a patch of contamination must have to keep particles away."""

CONNECTED = np.ones((3, 3), bool)
"""Pixels that touch by an edge or a corner are one component."""


@dataclass(frozen=True)
class Picks:
    """Particles of one micrograph, the strongest first.

    Attributes
    ----------
    positions
        (n, 2) float32, (y, x) in pixels.
    scores
        (n,) float32.
    """

    positions: NDArray[np.float32]
    scores: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.scores)

    def above(self, threshold: float) -> "Picks":
        """Those whose score exceeds a threshold."""
        return self.where(self.scores > threshold)

    def where(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> "Picks":
        """Some of them."""
        return Picks(self.positions[chosen], self.scores[chosen])


def winners(
    probabilities: NDArray[np.float32], background_weight: float = 1.0
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Where "particle" and where "contamination" is more probable than the other classes.

    Parameters
    ----------
    probabilities
        (h, w, 3), in the order of `labels.CLASSES`.
    background_weight
        What background weighed in training beside contamination, `loss.background_weight`. The network says either as
        often as if background were so much rarer than it is; between these two that is undone here. Particles are
        held against background as the network says: there the user's threshold decides.

    Returns
    -------
    particle
        (h, w) float32, its probability where it wins, else 0.
    contamination
        (h, w) bool.
    """
    background, particle, contamination = (probabilities[..., c] for c in (BACKGROUND, PARTICLE, CONTAMINATION))
    wins = (particle > background) & (particle > contamination)
    dirty = (contamination * np.float32(background_weight) > background) & (contamination >= particle)
    return np.where(wins, particle, np.float32(0)), dirty


def find_picks(
    particle: NDArray[np.floating],
    contamination: NDArray[np.bool_],
    *,
    threshold: float,
    diameter: float,
    min_distance: float | None = None,
    border: float = 0.0,
    mask_distance: float = 0.0,
) -> Picks:
    """Find the particles of one micrograph.

    Parameters
    ----------
    particle
        (h, w), probability of "particle" where that wins over the other classes, else 0.
    contamination
        (h, w), where "contamination" wins.
    threshold
        The score must exceed it.
    diameter
        Of the particles, in pixels, as all distances.
    min_distance
        Of two that are nearer the stronger stays; None: diameter / 2.
    border
        Centres nearer than this to an edge of the micrograph are left out.
    mask_distance
        So far, beyond diameter / 2, centres must be from contamination.

    Returns
    -------
    Picks
        A higher threshold gives some of those of a lower one, at the same positions.

    Notes
    -----
    The label that a network learns is a disc of radius diameter / 8. Maxima of the probability, smoothed by half of
    that to have one on a plateau, are the seeds; each pixel where "particle" wins belongs to the nearest seed of its
    connected component, up to diameter / 4 away, and the pick is the centroid of these, weighted by the probability.
    Its score is the mean probability in the disc that would be its label. The largest one says less: it is near 1 in
    most particles, and also where a part of a broken one looks right.
    """
    if not (particle > threshold).any():
        return Picks(np.empty((0, 2), np.float32), np.empty(0, np.float32))
    picks = _flooded(particle, diameter).above(threshold)
    picks = keep_stronger(picks, diameter / 2 if min_distance is None else min_distance)
    picks = inside_border(picks, (particle.shape[0], particle.shape[1]), border)
    return _away_from(without_specks(contamination), picks, diameter / 2 + mask_distance)


def without_specks(contamination: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Contamination less its patches of fewer than `LEAST_SPECK` pixels."""
    patches = _components(contamination)
    large = np.bincount(patches.ravel()) >= LEAST_SPECK
    large[0] = False
    return np.asarray(large[patches])


def keep_stronger(picks: Picks, min_distance: float) -> Picks:
    """Of picks that are nearer to one another than `min_distance` the strongest, from the strongest down.

    Of equally strong ones the first in the order of rows and columns stays, so that the result depends on no order.
    """
    order = np.lexsort((picks.positions[:, 1], picks.positions[:, 0], -picks.scores))
    picks = picks.where(order)
    kept = np.ones(len(picks), bool)
    if len(picks) > 1 and min_distance > 0:
        near = cKDTree(picks.positions).query_pairs(min_distance, output_type="ndarray")
        gaps = picks.positions[near[:, 0]].astype(np.float64) - picks.positions[near[:, 1]]
        near = near[np.hypot(*gaps.T) < min_distance]
        for stronger, weaker in near[np.lexsort(near.T[::-1])]:
            kept[weaker] &= not kept[stronger]
    return picks.where(kept)


def inside_border(picks: Picks, shape: tuple[int, int], border: float) -> Picks:
    """Those at least `border` from every edge; the edge lies half a pixel beyond the centre of the last one."""
    return picks.where(is_inside(picks.positions, shape, border))


def is_inside(positions: NDArray[np.floating], shape: tuple[int, int], border: float) -> NDArray[np.bool_]:
    """Which positions (y, x) are at least `border` from every edge."""
    to_edge = np.minimum(positions + 0.5, np.asarray(shape) - 0.5 - positions)
    return np.asarray((to_edge >= border).all(axis=1))


def _components(where: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Connected components, numbered from 1; 0 elsewhere."""
    components = np.zeros(where.shape, np.int32)
    ndimage.label(where, CONNECTED, output=components)
    return components


def _flooded(particle: NDArray[np.floating], diameter: float) -> Picks:
    """Centroid of what belongs to each seed, and the mean probability about it."""
    components = _components(particle > 0)
    seeds, component = _seeds(particle, components, diameter)
    pixels = np.argwhere(components)
    # The component is a third coordinate, so that seeds of other components are out of reach.
    apart = 2 * sum(particle.shape)
    reach = max(diameter / 4, 1.5) + 1e-6
    placed = np.column_stack([pixels, apart * components[tuple(pixels.T)]])
    _, nearest = cKDTree(np.column_stack([seeds, apart * component])).query(placed, distance_upper_bound=reach)
    owner = np.asarray(nearest, np.int64)
    pixels, owner = pixels[owner < len(seeds)], owner[owner < len(seeds)]
    weights = particle[tuple(pixels.T)].astype(np.float64)
    total = np.bincount(owner, weights, len(seeds))
    centroids = np.column_stack([np.bincount(owner, weights * axis, len(seeds)) for axis in pixels.T])
    some = total > 0
    positions = centroids[some] / total[some, None]
    return Picks(positions.astype(np.float32), _mean_about(particle, positions, disc_radius(diameter)))


def _mean_about(values: NDArray[np.floating], positions: NDArray[np.float64], radius: float) -> NDArray[np.float32]:
    """Mean of the pixels whose centres are within `radius` of each position, (n,)."""
    edge = np.arange(-int(np.ceil(radius)) - 1, int(np.ceil(radius)) + 2)
    offsets = np.stack(np.meshgrid(edge, edge, indexing="ij"), -1).reshape(-1, 2)
    pixels = np.rint(positions).astype(int)[:, None] + offsets
    near = ((pixels - positions[:, None]) ** 2).sum(-1) <= (radius + 1e-6) ** 2
    near &= ((pixels >= 0) & (pixels < values.shape)).all(-1)
    rows, columns = np.moveaxis(np.clip(pixels, 0, np.array(values.shape) - 1), -1, 0)
    around = values[rows, columns].astype(np.float64)
    means: NDArray[np.float32] = ((around * near).sum(1) / near.sum(1)).astype(np.float32)
    return means


def _seeds(
    particle: NDArray[np.floating], components: NDArray[np.int32], diameter: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Where the smoothed probability is largest within a label's radius, (n, 2), and the component of each."""
    radius = disc_radius(diameter)
    # Zero elsewhere, so that a component which encloses or curves round its own maximum has a seed, too.
    smooth = ndimage.gaussian_filter(particle.astype(np.float32, copy=False), radius / 2) * (components > 0)
    highest = (smooth == ndimage.maximum_filter(smooth, 2 * round(radius) + 1)) & (components > 0)
    plateaus = _components(highest)
    number = int(plateaus.max())
    pixels = np.argwhere(plateaus)
    plateau = plateaus[tuple(pixels.T)] - 1
    size = np.bincount(plateau, minlength=number)
    seeds = np.column_stack([np.bincount(plateau, axis, number) for axis in pixels.T]) / size[:, None]
    component = np.zeros(number, np.int64)
    component[plateau] = components[tuple(pixels.T)]
    return seeds, component


def _away_from(contamination: NDArray[np.bool_], picks: Picks, distance: float) -> Picks:
    """Those whose centre is farther than `distance` from every pixel of contamination."""
    if not len(picks) or not contamination.any():
        return picks
    # The nearest pixel of a patch is one of its rim, or the centre lies inside.
    rim = np.argwhere(contamination & ~ndimage.binary_erosion(contamination, CONNECTED))
    nearest, _ = cKDTree(rim).query(picks.positions)
    shape = np.asarray(contamination.shape)
    inside = contamination[tuple(np.clip(np.rint(picks.positions).astype(int), 0, shape - 1).T)]
    return picks.where((nearest > distance) & ~inside)
