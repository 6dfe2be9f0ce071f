"""The demonstration's verdict, and that its training can be copied from configs/demo.yaml."""

from dataclasses import replace
from pathlib import Path

import pytest

from mwr_hpc.config.loading import resolve
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.numerics.metrics import REGIONS, AgainstTruth
from mwr_hpc.pipeline.demo import TRAINING, DemoResult

CONFIGS = Path(__file__).parents[2] / "configs"


def figures(fcc: float, slope: float | None, inverted: bool = False) -> AgainstTruth:
    return AgainstTruth(dict.fromkeys(REGIONS, fcc), dict.fromkeys(REGIONS, slope), inverted, {}, 0.4, 20.0, 0.5)


RESULT = DemoResult(figures(0.3, 0.03), figures(0.45, 0.3), Path("demo.png"))


def test_meets_its_thresholds() -> None:
    assert RESULT.passed
    assert RESULT.exit_code == 0
    assert "met its thresholds" in RESULT.summary[-1]
    assert any("0.300   0.450" in line for line in RESULT.summary)


@pytest.mark.parametrize(
    "after", [figures(0.39, 0.9), figures(0.9, 0.19), figures(0.9, None), figures(0.9, 0.9, inverted=True)]
)
def test_misses_its_thresholds(after: AgainstTruth) -> None:
    result = replace(RESULT, after=after)
    assert not result.passed
    assert result.exit_code == 1
    assert "MISSED" in result.summary[-1]


def test_an_inverted_contrast_is_named() -> None:
    assert "CONTRAST INVERTED" in replace(RESULT, after=figures(0.9, 0.9, inverted=True)).summary


def test_configuration_file_holds_the_training_of_the_demonstration() -> None:
    from_file = resolve(TrainSettings, config=CONFIGS / "demo.yaml", incomplete=True).settings
    assert from_file == TrainSettings.model_validate(TRAINING, context={"incomplete": True})


def test_the_example_configuration_states_the_defaults() -> None:
    file = CONFIGS / "missing_wedge.yaml"
    example = resolve(TrainSettings, {"input_dir": "none"}, config=file, incomplete=True).settings
    assert example == TrainSettings.model_validate({}, context={"incomplete": True})
