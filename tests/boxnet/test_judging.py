"""A network in training is judged by what somebody looked at: places without weight are neither right nor wrong."""

from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mwr_hpc.boxnet.examples import Example
from mwr_hpc.boxnet.judging import PickJudge
from mwr_hpc.boxnet.labels import paint
from mwr_hpc.boxnet.pick import loaded
from mwr_hpc.io.micrograph import read_micrograph
from mwr_hpc.numerics.micrograph import prepare
from tests.boxnet.teaching import ALONE, NOWHERE, Examples
from tests.picking import DIAMETER, micrograph, places, spot_model

PIXEL_SIZE = 8.0


def judged(tmp_path: Path, positives: np.ndarray, uncertain: np.ndarray) -> tuple[float, float | None]:
    """Average precision and threshold of the built model on a micrograph with these labels."""
    path = micrograph(tmp_path / "m.mrc")
    read = read_micrograph(path, None)
    image = prepare(read.image, read.pixel_size, PIXEL_SIZE, "dark")
    labels, weights = paint(image.shape, positives / 2, NOWHERE, uncertain / 2, DIAMETER / PIXEL_SIZE, None)
    example = Example("m", image, labels, weights, (positives / 2).astype(np.float32), False, DIAMETER)
    labeller = loaded(spot_model(tmp_path / "spots.h5"), 0)
    engine: Any = SimpleNamespace(predict=labeller.network, communicator=ALONE, averaged=nullcontext)
    examples = Examples([example])
    judge = PickJudge(engine, labeller.architecture, 1.0, examples)
    return judge.figures()["average_precision"], judge.threshold()


def test_what_is_found_is_right_or_wrong_or_uncertain(tmp_path: Path) -> None:
    every = places(0)
    ap, threshold = judged(tmp_path, every, NOWHERE)
    assert ap == pytest.approx(1) and threshold is not None
    assert judged(tmp_path, every[1:], NOWHERE)[0] < 1
    assert judged(tmp_path, every[1:], every[:1]) == (pytest.approx(1), threshold)
    absent = np.vstack([every, [[10, 10]]])
    assert judged(tmp_path, absent, NOWHERE)[0] < 1
    assert judged(tmp_path, absent, absent[-1:]) == (pytest.approx(1), threshold)
