"""How much a picker learns from five micrographs: a new species before and after, the old ones, and a blob picker.

    python benchmarks/retraining.py [4cr2.mrc] [--seeds 0 1 2] [--epochs 20]

For each seed: ten micrographs of the density map (SNR 2 at 8 A per pixel inside the disc), five to learn from, five to
judge by, at a tolerance of a quarter of the diameter; old species in micrographs that the generic model has not seen.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from shutil import copy

import numpy as np

from mwr_hpc.boxnet.blob_picker import find_blobs
from mwr_hpc.boxnet.curate import Picks, find_picks
from mwr_hpc.boxnet.generic import SPECIFICATION
from mwr_hpc.boxnet.pick import loaded
from mwr_hpc.boxnet.registry import find_model
from mwr_hpc.config.boxnet_data import PrepareExamplesSettings
from mwr_hpc.config.boxnet_training import RetrainSettings
from mwr_hpc.events import ignore, never
from mwr_hpc.numerics.detection import Scored, average_precision, best_f1_threshold, score
from mwr_hpc.numerics.micrograph import prepare
from mwr_hpc.numerics.pairing import match
from mwr_hpc.pipeline.boxnet_examples import prepare_examples
from mwr_hpc.pipeline.boxnet_training import train_picker
from mwr_hpc.simulation.micrograph import Micrograph, MicrographSpecification, simulate_micrograph
from mwr_hpc.simulation.micrograph_series import series_paths, simulate_micrographs
from mwr_hpc.training.model_file import read_description

TAUGHT, JUDGED, OLD = 5, 5, 12
UNSEEN = 10_000
"""Index of the first micrograph of the old species that no generic model was trained on."""

PIXEL = 8.0
TOLERANCE = 0.25


class Sample:
    """A simulated micrograph at the working pixel size; everything else in its pixels."""

    def __init__(self, micrograph: Micrograph, pixel_size: float) -> None:
        self.image = prepare(micrograph.image, pixel_size, PIXEL, "dark")
        scale = np.array(self.image.shape) / micrograph.image.shape
        self.truth = (micrograph.positions * scale).astype(np.float64)
        self.junk = micrograph.junk * scale
        self.mask = micrograph.mask
        self.diameter = micrograph.conditions.species.diameter / PIXEL

    def picked(self, model: Path) -> Picks:
        particle, contamination = loaded(model, model.stat().st_mtime_ns).winners(self.image)
        return find_picks(particle, contamination, threshold=0.0, diameter=self.diameter)

    def scored(self, picks: Picks) -> Scored:
        return Scored(self.truth, picks.positions.astype(np.float64), picks.scores)

    def on_junk(self, picks: Picks) -> int:
        """Picks on contamination, or on broken particles and on no whole one."""
        positions = picks.positions.astype(np.float64)
        tolerance = TOLERANCE * self.diameter
        places = np.clip(np.rint(positions).astype(int), 0, np.array(self.mask.shape) - 1)
        dirty = self.mask[tuple(places.T)]
        good = match(self.truth, positions, tolerance)
        broken = match(self.junk.astype(np.float64), positions, tolerance)
        dirty[list(set(np.asarray(broken)[:, 1].tolist()) - set(np.asarray(good)[:, 1].tolist()))] = True
        return int(dirty.sum())


def of_old_species(model: Path, samples: list[Sample]) -> float:
    """Mean over the micrographs: each has its own species and diameter."""
    values = [
        average_precision([one.scored(one.picked(model))], TOLERANCE * one.diameter)
        for one in samples
        if len(one.truth)
    ]
    return float(np.mean(values))


def figures(model: Path, samples: list[Sample]) -> dict[str, float]:
    threshold = read_description(model)["threshold"]
    picked = [one.picked(model) for one in samples]
    scored = [one.scored(picks) for one, picks in zip(samples, picked, strict=True)]
    tolerance = TOLERANCE * samples[0].diameter
    chosen = [picks.where(picks.scores > threshold) for picks in picked]
    junk = sum(one.on_junk(picks) for one, picks in zip(samples, chosen, strict=True))
    result = score(scored, tolerance, threshold)
    return {
        "AP": average_precision(scored, tolerance),
        "F1": result.f1,
        "precision": result.precision,
        "recall": result.recall,
        "junk": junk / max(1, sum(map(len, chosen))),
    }


def blobs(samples: list[Sample]) -> dict[str, float]:
    scored = [one.scored(find_blobs(one.image, diameter=one.diameter)) for one in samples]
    tolerance = TOLERANCE * samples[0].diameter
    return {"AP": average_precision(scored, tolerance), "F1": best_f1_threshold(scored, tolerance)[1]}


def shown(label: str, values: dict[str, float]) -> None:
    print(f"  {label:<12}" + "  ".join(f"{name} {value:.3f}" for name, value in values.items()), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("map", type=Path, nargs="?", help="density map; default: a made-up particle")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--snr", type=float, default=2.0)
    given = parser.parse_args()
    generic = find_model("BoxNetGeneric")
    gathered = []
    for seed in given.seeds:
        print(f"seed {seed}")
        with tempfile.TemporaryDirectory() as temporary:
            out = Path(temporary)
            specification = MicrographSpecification(
                pixel_size=4.0,
                density_maps=(given.map,) if given.map else (),
                species=1,
                snr=(given.snr, given.snr),
                smoothing=(0.0, 0.0),
                seed=seed,
            )
            simulate_micrographs(specification, TAUGHT, out / "taught")
            (out / "picks").mkdir()
            for index in range(TAUGHT):
                copy(series_paths(out / "taught", index).truth, out / "picks")
            judged = [
                Sample(simulate_micrograph(specification, TAUGHT + index), specification.pixel_size)
                for index in range(JUDGED)
            ]
            ranges = replace(SPECIFICATION, snr=(0.5, 2.0))
            old = [Sample(simulate_micrograph(ranges, UNSEEN + 3 * index), PIXEL) for index in range(OLD)]
            started = time.perf_counter(), time.process_time()
            prepare_examples(
                PrepareExamplesSettings(
                    micrographs=out / "taught",
                    positives=out / "picks",
                    diameter=judged[0].diameter * PIXEL,
                    out=out / "examples.zarr",
                    seed=seed,
                ),
                ignore,
                never,
            )
            settings = RetrainSettings(
                parent="BoxNetGeneric",
                name="Taught",
                examples=out / "examples.zarr",
                run_dir=out / "run",
                epochs=given.epochs,
                seed=seed,
            )
            model = train_picker(settings, ignore, never)
            seconds, cpu = time.perf_counter() - started[0], time.process_time() - started[1]
            shown("blobs", blobs(judged))
            shown("generic", figures(generic, judged) | {"old species": of_old_species(generic, old)})
            after = figures(model, judged) | {"old species": of_old_species(model, old)}
            shown("re-trained", after)
            print(f"  {seconds:.0f} s, {cpu:.0f} CPU-s")
            gathered.append(after)
    print("median of the re-trained")
    shown("", {name: float(np.median([one[name] for one in gathered])) for name in gathered[0]})


if __name__ == "__main__":
    main()
