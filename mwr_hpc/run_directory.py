"""The only owner of paths inside a run directory: every file of a run has its name here and nowhere else."""

import re
from collections.abc import Iterable
from pathlib import Path

from mwr_hpc.io.atomic import partial_path

STATE_FOLDER = ".mwr_hpc"
"""Beside results in a folder of the user's: receipts, lock and logs of the commands that wrote them."""

CANDIDATES = "candidates"
"""Folder in it of what a picking network saw, for each suffix one."""

UNUSABLE = "unusable.json"
"""The tomograms that cannot be opened, and why."""


class RunDirectory:
    """Names the files and folders of one training run.

    Parameters
    ----------
    root
        The run directory; it need not exist.
    results
        Where ``model_iterNN.h5`` goes; ``root/results`` when None.
    """

    def __init__(self, root: Path, results: Path | None = None) -> None:
        self.root = Path(root)
        self.results = Path(results) if results is not None else self.root / "results"
        self.config = self.root / "config.yaml"
        self.retraining = self.root / "retrain.yaml"
        self.cohort = self.root / "tomograms.star"
        self.lock = self.root / "lock.json"
        self.events = self.root / "events.jsonl"
        self.unusable = self.root / UNUSABLE
        self.untrained = self.root / "untrained.json"
        self.receipts = self.root / "receipts"
        self.quarantine = self.receipts / "quarantine"
        self.logs = self.root / "logs"
        self.curves_figure = self.root / "curves.png"
        self.iterations = self.root / "iterations"

    @property
    def results_lock(self) -> Path | None:
        """The lock of a folder of results outside the run, which two runs could share; None where `lock` covers it."""
        inside = self.results.resolve().is_relative_to(self.root.resolve())
        return None if inside else self.results / STATE_FOLDER / "models_lock.json"

    @property
    def own_folders(self) -> list[Path]:
        """The folders in which nobody but the run writes."""
        return [self.root / "tomograms", self.root / "subtomograms", self.receipts, self.iterations]

    def tomogram(self, identifier: str) -> Path:
        """The converted tomogram."""
        return self.root / "tomograms" / f"{identifier}.ome.zarr"

    def subtomograms(self, identifier: str) -> Path:
        """The raw crops of one tomogram."""
        return self.root / "subtomograms" / f"{identifier}.zarr"

    def longest_names(self, identifier: str) -> list[Path]:
        """The longest name and the longest path of what is written for one tomogram."""
        return [partial_path(self.tomogram(identifier)), partial_path(self.predicted(99, identifier))]

    def iteration(self, iteration: int) -> Path:
        """The folder of one iteration (from 1)."""
        return self.iterations / f"{iteration:02d}"

    def pairs(self, iteration: int, identifier: str) -> Path:
        """The training pairs of one tomogram in one iteration."""
        return self.iteration(iteration) / "pairs" / f"{identifier}.zarr"

    def predicted(self, iteration: int, identifier: str) -> Path:
        """The crops of one tomogram as the network of `iteration` predicts them."""
        return self.iteration(iteration) / "predicted" / f"{identifier}.zarr"

    def checkpoint(self, iteration: int) -> Path:
        """The folder of an iteration's training checkpoints."""
        return self.iteration(iteration) / "checkpoint"

    def curves(self, iteration: int) -> Path:
        """The loss curves of one iteration, one JSON object a line."""
        return self.iteration(iteration) / "curves.jsonl"

    def model(self, iteration: int) -> Path:
        """The model that an iteration leaves."""
        return self.results / f"model_iter{iteration:02d}.h5"

    def set_aside(self, iteration: int) -> Path:
        """Where the results after `iteration` go when a run is continued from there; a new folder each time."""
        number = 1
        while (folder := self.root / "set_aside" / f"after_{iteration:02d}_{number}").exists():
            number += 1
        return folder

    def existing_models(self) -> dict[int, Path]:
        """The published models by iteration."""
        found = ((_iteration_of(path), path) for path in self.results.glob("model_iter*.h5"))
        return {iteration: path for iteration, path in sorted(found) if iteration is not None}

    def existing_iterations(self) -> Iterable[int]:
        """The iterations that have a folder."""
        return sorted(int(folder.name) for folder in self.iterations.glob("[0-9]*") if folder.name.isdigit())


def _iteration_of(model: Path) -> int | None:
    match = re.fullmatch(r"model_iter(\d+)\.h5", model.name)
    return int(match.group(1)) if match else None
