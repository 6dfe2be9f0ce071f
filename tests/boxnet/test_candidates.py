"""Candidates: read as they were written, and chosen from in the micrograph's own pixels."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from mwr_hpc.boxnet.candidates import Candidates, Rules, read_candidates, write_candidates
from mwr_hpc.boxnet.labels import disc_radius
from mwr_hpc.errors import InputError

WORKING = (80, 120)
SHAPE = (320, 481)
"""Four times as fine, and not an exact multiple along x."""


def candidates(places: list[tuple[float, float]]) -> Candidates:
    """Particles of 160 A at places (y, x) of the micrograph of 2 A per pixel, and a patch of ice."""
    y, x = np.indices(WORKING) * np.reshape(np.divide(SHAPE, WORKING), (2, 1, 1))
    particle = np.zeros(WORKING, np.float32)
    for number, place in enumerate(places):
        particle[np.hypot(y - place[0], x - place[1]) <= 4 * disc_radius(20)] = 0.9 - number / 8
    contamination = np.zeros(WORKING, bool)
    contamination[60:, 100:] = True
    return Candidates("mic.mrc", SHAPE, 2.0, particle, contamination)


def test_written_and_read(tmp_path: Path) -> None:
    written = candidates([(100, 200)])
    write_candidates(tmp_path / "a.h5", written)
    write_candidates(tmp_path / "b.h5", written)
    assert (tmp_path / "a.h5").read_bytes() == (tmp_path / "b.h5").read_bytes()
    assert (tmp_path / "a.h5").stat().st_size < 20_000
    read = read_candidates(tmp_path / "a.h5")
    assert (read.micrograph, read.shape, read.pixel_size) == ("mic.mrc", SHAPE, 2.0)
    assert read.particle == pytest.approx(written.particle, abs=1e-3) and read.particle.dtype == np.float32
    assert (read.contamination == written.contamination).all()


def test_rules_are_in_angstrom_and_pixels_of_the_micrograph() -> None:
    seen = candidates([(100, 200), (160, 200), (40, 400), (200, 400)])
    rules = Rules(threshold=0.3, diameter=160)
    picks = seen.picks(rules)
    assert picks.positions == pytest.approx(np.array([(100, 200), (160, 200), (40, 400), (200, 400)]), abs=1.0)
    assert len(seen.picks(Rules(0.7, 160))) == 2
    assert len(seen.picks(Rules(0.3, 160, min_distance=130))) == 3  # the first two are 120 A apart
    assert len(seen.picks(Rules(0.3, 160, border=50))) == 3
    # The ice is 40 pixels away, 80 A; half the diameter is 80 A too.
    assert len(seen.picks(Rules(0.3, 160, mask_distance=20))) == 3


@pytest.mark.parametrize("damage", ["absent", "empty", "cut", "other", "shapes"])
def test_damaged_files(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "c.h5"
    write_candidates(path, candidates([]))
    if damage == "absent":
        path.unlink()
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[:900])
    else:
        with h5py.File(path, "r+") as file:
            if damage == "other":
                file.attrs["format"] = "something else"
            else:
                del file["contamination"]
                file["contamination"] = np.zeros((3, 3), np.uint8)
    with pytest.raises(InputError, match=r"c\.h5"):
        read_candidates(path)
