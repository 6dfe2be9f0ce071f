"""The units of work of a training run: pure functions from settings, paths and receipts to units."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.missing_wedge.entries import TomogramEntry
from mwr_hpc.numerics.keyed_random import keyed_generator
from mwr_hpc.numerics.normalization import Normalization, VolumeStatistics
from mwr_hpc.pipeline.receipts import Receipt, ReceiptBook, checksum, fingerprint
from mwr_hpc.pipeline.units import Unit, published
from mwr_hpc.run_directory import RunDirectory

COHORT_WITH_WHOLE_TOMOGRAMS_HELD_OUT = 10
"""From this many tomograms on whole ones are held out for validation, below it a block of each."""

HELD_OUT_SHARE = 0.1

STAGE_MODULES = "mwr_hpc.missing_wedge"


@dataclass(frozen=True)
class TrainingUnits:
    """Makes the units of one run.

    Parameters
    ----------
    settings
        The frozen settings: their defaults resolved.
    run
        Where everything lies.
    book
        Knows where the receipt of a file target goes.
    """

    settings: TrainSettings
    run: RunDirectory
    book: ReceiptBook

    def convert(self, entry: TomogramEntry) -> Unit:
        """MRC to OME-Zarr."""
        return Unit(
            stage="convert",
            name=entry.id,
            function=f"{STAGE_MODULES}.convert:convert_tomogram",
            inputs={"tomogram": entry.path},
            input_keys={"tomogram": fingerprint(entry.path)},
            parameters={**stated_voxel_size(entry), **stated_bytes(entry)},
            target=self.run.tomogram(entry.id),
        )

    def conversions(self, entries: Sequence[TomogramEntry]) -> tuple[list[Unit], list[str]]:
        """All of `convert`, and the ids of those that stay as version 0.1.0 made them.

        It read bytes as signed unless a stamp said otherwise. What it has converted is not read in another way in the
        middle of a run.
        """
        units, kept = [], []
        for entry in entries:
            unit = self.convert(entry)
            before = replace(unit, parameters=stated_voxel_size(entry))
            if entry.signedness and not entry.stated_signedness and published(before):
                unit = before
                kept.append(entry.id)
            units.append(unit)
        return units, kept

    def extractions(
        self, entries: Sequence[TomogramEntry], converted: Mapping[str, Receipt], held_out: frozenset[str]
    ) -> list[Unit]:
        """Random crops of the converted tomograms."""
        normalizations = self.normalizations(converted)
        return [self._extract(entry, converted, held_out, normalizations[entry.id]) for entry in entries]

    def _extract(
        self,
        entry: TomogramEntry,
        converted: Mapping[str, Receipt],
        held_out: frozenset[str],
        normalization: Normalization,
    ) -> Unit:
        whole = bool(held_out)
        return Unit(
            stage="extract",
            name=entry.id,
            function=f"{STAGE_MODULES}.extract:extract_subtomograms",
            inputs={"tomogram": self.run.tomogram(entry.id), "mask": entry.mask},
            input_keys={"tomogram": converted[entry.id].key, "mask": fingerprint(entry.mask)},
            parameters={
                "id": entry.id,
                **self._chosen("cube_size", "crop_size", "ncube", "seed"),
                "normalization": normalization.to_record(),
                "hold_out": not whole and not self.settings.datas_are_subtomos,
                "subtomograms": self.settings.datas_are_subtomos,
                **({"hide_defects": True} if self._hidden(converted[entry.id]) else {}),
            },
            target=self.run.subtomograms(entry.id),
        )

    def normalizations(self, converted: Mapping[str, Receipt]) -> dict[str, Normalization]:
        """Every tomogram's affine map; one of the whole set when the inputs are sub-tomograms."""

        def chosen(statistics: VolumeStatistics) -> Normalization:
            return Normalization.from_statistics(statistics, self.settings.normalize_percentile, self.settings.contrast)

        statistics = {
            identifier: VolumeStatistics.from_record((self._hidden(receipt) or receipt.figures)["statistics"])
            for identifier, receipt in converted.items()
        }
        if self.settings.datas_are_subtomos:
            return dict.fromkeys(statistics, chosen(VolumeStatistics.pooled(list(statistics.values()))))
        return {identifier: chosen(one) for identifier, one in statistics.items()}

    def _hidden(self, converted: Receipt) -> dict[str, Any] | None:
        """The defects of a tomogram that the network shall not see; a run that version 0.1.0 began shows it all."""
        return converted.figures.get("defects") if self.settings.begun_by else None

    def pairs(self, entry: TomogramEntry, iteration: int, extracted: Receipt, predicted: Receipt | None) -> Unit:
        """The rotated-wedge pairs of one tomogram in one iteration."""
        return Unit(
            stage=f"pairs_{iteration:02d}",
            name=entry.id,
            function=f"{STAGE_MODULES}.pairs:make_pairs",
            inputs={
                "subtomograms": self.run.subtomograms(entry.id),
                "predicted": self.run.predicted(iteration - 1, entry.id) if predicted else None,
            },
            input_keys={"subtomograms": extracted.key, "predicted": predicted.key if predicted else None},
            parameters={
                "id": entry.id,
                "iteration": iteration,
                "tilt_range": _tilts(entry),
                **self._chosen("cube_size", "crop_size", "rotations", "seed"),
            },
            target=self.run.pairs(iteration, entry.id),
        )

    def training_set(self, entries: Sequence[TomogramEntry], converted: Mapping[str, Receipt]) -> dict[str, Any]:
        """What the model file tells of its data: the one tilt range of all `entries`, else each that there is."""
        ranges = sorted({tuple(_tilts(entry)) for entry in entries})
        voxel_sizes = {tuple(converted[entry.id].figures["voxel_size"]) for entry in entries}
        return {
            "tomograms": sorted(entry.id for entry in entries),
            "tilt_range": list(ranges[0]) if len(ranges) == 1 else [list(one) for one in ranges],
            "voxel_size": sorted(voxel_sizes)[0],
            "normalization": "percentile" if self.settings.normalize_percentile else "mean and standard deviation",
            "contrast": self.settings.contrast,
            **({"padding": "excluded"} if self.settings.begun_by else {}),
        }

    def train(
        self, iteration: int, pairs: Mapping[str, Receipt], held_out: frozenset[str], training_set: dict[str, Any]
    ) -> Unit:
        """One iteration's training on all pairs; `training_set` is what the model file tells of its data."""
        first = iteration == 1
        pretrained = self.settings.pretrained_model if first else None
        return Unit(
            stage="train",
            name=f"{iteration:02d}",
            function=f"{STAGE_MODULES}.train:train_iteration",
            inputs={
                "pairs": {identifier: self.run.pairs(iteration, identifier) for identifier in pairs},
                "previous_model": None if first else self.run.model(iteration - 1),
                "previous_checkpoint": None if first else self.run.checkpoint(iteration - 1),
                "pretrained": pretrained,
                "noise": self.settings.noise_dir,
            },
            input_keys={
                "pairs": {identifier: receipt.key for identifier, receipt in pairs.items()},
                "pretrained": fingerprint(pretrained),
                "noise": fingerprint(self.settings.noise_dir),
            },
            parameters={
                "iteration": iteration,
                "held_out_tomograms": sorted(held_out & pairs.keys()),
                "training_set": training_set,
                **self._chosen(
                    *("cube_size", "crop_size", "epochs", "batch_size", "steps_per_epoch", "max_samples"),
                    *("filter_base", "unet_depth", "convs_per_depth", "kernel", "drop_out", "batch_normalization"),
                    *("learning_rate", "loss", "precision", "seed", "deterministic"),
                    *("noise_level", "noise_start_iter", "noise_pause"),
                ),
                **({"noise_bytes": self.settings.bytes} if self.settings.noise_dir and self.settings.bytes else {}),
            },
            execution={"gpuID": self.settings.gpuID},
            target=self.run.model(iteration),
            receipt=self.book.path("train", f"{iteration:02d}"),
        )

    def predict(self, entry: TomogramEntry, iteration: int, extracted: Receipt, model: Receipt | None) -> Unit:
        """The crops of one tomogram as the iteration's network predicts them; None: a model that is not there yet."""
        return Unit(
            stage=f"predicted_{iteration:02d}",
            name=entry.id,
            function=f"{STAGE_MODULES}.predict:predict_subtomograms",
            inputs={"subtomograms": self.run.subtomograms(entry.id), "model": self.run.model(iteration)},
            input_keys={"subtomograms": extracted.key, "model": model and model.checksum},
            parameters=self._chosen("precision", "deterministic"),
            execution={"batch_size": self.settings.predict_batch_size, "gpuID": self.settings.gpuID},
            target=self.run.predicted(iteration, entry.id),
        )

    def held_out(self, identifiers: list[str]) -> frozenset[str]:
        """Whole tomograms that only validate: a keyed tenth of a cohort that is large enough."""
        if len(identifiers) < COHORT_WITH_WHOLE_TOMOGRAMS_HELD_OUT:
            return frozenset()
        order = keyed_generator(self.settings.seed, "held-out tomograms").permutation(len(identifiers))
        count = max(1, round(HELD_OUT_SHARE * len(identifiers)))
        return frozenset(sorted(identifiers)[index] for index in order[:count])

    def _chosen(self, *names: str) -> dict[str, Any]:
        return {name: getattr(self.settings, name) for name in names}


def newest_trained(run: RunDirectory, book: ReceiptBook) -> int:
    """The last iteration whose model is published and is what its receipt says; 0 when there is none."""
    for iteration, path in sorted(own_models(run, book).items(), reverse=True):
        receipt = book.get("train", f"{iteration:02d}")
        if receipt is not None and receipt.checksum == checksum(path):
            return iteration
    return 0


def own_models(run: RunDirectory, book: ReceiptBook) -> dict[int, Path]:
    """The models, by iteration, of which this run has a receipt."""
    models = run.existing_models().items()
    return {iteration: path for iteration, path in models if book.get("train", f"{iteration:02d}") is not None}


def stated_voxel_size(entry: TomogramEntry) -> dict[str, Any]:
    """The parameter of `convert` and `correct` for a file without a voxel size; nothing for others."""
    return {"voxel_size": entry.stated_voxel_size} if entry.stated_voxel_size else {}


def stated_bytes(entry: TomogramEntry) -> dict[str, Any]:
    """The parameter of all units that read a file whose bytes they would read in another way; nothing for others."""
    return {"bytes": entry.signedness} if entry.signedness else {}


def _tilts(entry: TomogramEntry) -> list[float]:
    assert entry.tilt_range is not None, "training knows every tomogram's tilt range, from the list or the settings"
    return list(entry.tilt_range)
