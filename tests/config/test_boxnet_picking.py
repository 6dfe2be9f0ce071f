"""Settings of picking: the example file, spellings, and what is refused."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from mwr_hpc.config.boxnet_picking import EvaluatePicksSettings, PickSettings
from mwr_hpc.config.loading import resolve

EXAMPLE = Path(__file__).parents[2] / "configs/boxnet_pick.yaml"
REQUIRED = {"model": "m", "micrographs": "mics", "diameter": 100}


def test_the_example_file_holds_the_defaults() -> None:
    settings = resolve(PickSettings, config=EXAMPLE).settings
    required = PickSettings(model="BoxNetGeneric", micrographs="micrographs", diameter=190)
    assert settings == required
    commented = [line.lstrip("# ").split(":")[0] for line in EXAMPLE.read_text().splitlines() if ": " in line]
    named = set(commented) & set(PickSettings.model_fields)
    assert named == set(PickSettings.model_fields) - {"pixel_size", "slurm", "in_allocation", "share"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("star", ("star",)),
        ("cbox,star", ("star", "cbox")),
        (["box", "cbox"], ("star", "box", "cbox")),
        (["cbox,box"], ("star", "box", "cbox")),
    ],
)
def test_formats(given: object, expected: tuple[str, ...]) -> None:
    assert PickSettings(**REQUIRED, formats=given).formats == expected


@pytest.mark.parametrize("suffix", ["", "a/b", "..", "a b", "ä", "a.b", "a\n"])
def test_a_suffix_is_part_of_a_file_name(suffix: str) -> None:
    for kind in (PickSettings, EvaluatePicksSettings):
        with pytest.raises(ValidationError, match=r"letters, digits|found nothing"):
            kind(**(REQUIRED if kind is PickSettings else {"picked": "p", "truth": "t"}), suffix=suffix)


def test_results_lie_beside_the_micrographs() -> None:
    assert PickSettings(**REQUIRED).folder == Path("mics").absolute()
    assert PickSettings(**REQUIRED, out="elsewhere").folder == Path("elsewhere").absolute()


@pytest.mark.parametrize("missing", REQUIRED)
def test_what_is_required(missing: str) -> None:
    with pytest.raises(ValidationError, match=f"found no {missing}"):
        PickSettings(**{name: value for name, value in REQUIRED.items() if name != missing})


@pytest.mark.parametrize(
    "bad", [{"threshold": 1}, {"border": -1}, {"limit": 0}, {"diameter": 0}, {"share": "2/2"}, {"formats": []}]
)
def test_values_out_of_range(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        PickSettings(**(REQUIRED | bad))
