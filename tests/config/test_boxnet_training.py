"""Settings of re-training: the example file holds the defaults."""

from pathlib import Path

from mwr_hpc.config.boxnet_training import RetrainSettings
from mwr_hpc.config.loading import resolve

EXAMPLE = Path(__file__).parents[2] / "configs/boxnet_retrain.yaml"


def test_the_example_file_holds_the_defaults() -> None:
    settings = resolve(RetrainSettings, config=EXAMPLE).settings
    assert settings == RetrainSettings(parent="BoxNetGeneric", name="MyNet", examples="examples.zarr")
    commented = {line.lstrip("# ").split(":")[0] for line in EXAMPLE.read_text().splitlines() if ": " in line}
    known = set(RetrainSettings.model_fields)
    left_out = {"width", "depth", "blocks", "deterministic", "precision", "gpuID", "slurm", "in_allocation"}
    assert commented & known == known - left_out
