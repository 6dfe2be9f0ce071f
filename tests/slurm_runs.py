"""Tiny runs on the tests' SLURM: tomograms, site file, the same run without SLURM, and what became of both."""

import json
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from commanding import damaged_volume, volume
from killing import PROGRAM
from launching import wait_until
from mwr_hpc.cluster.job_name import run_tag
from mwr_hpc.cluster.slurm import ENDED
from mwr_hpc.pipeline.status import Status, status_of
from virtual_slurm import VirtualSlurm

REPOSITORY = Path(__file__).parents[1]

BROKEN = {"nan", "cut", "size"}
"""Ids of the tomograms that cannot be used."""

TRAINING = [
    *("--cube_size", 8, "--crop_size", 12, "--unet_depth", 1, "--filter_base", 2, "--convs_per_depth", 1),
    *("--ncube", 2, "--rotations", 2, "--epochs", 2, "--steps_per_epoch", 4, "--batch_size", 2, "--iterations", 2),
    *("--precision", "float32", "--deterministic", True),
]

SITE = """
slurm:
  partition: batch
  setup: {setup}
  scratch: {scratch}
  interface: {interface}
  coordinator: {{memory: 500M, walltime: "{walltime}"}}
  # So much memory that each job of a pool has a node for itself.
  preparation: {{workers: 3, cores: 1, memory: 5G, walltime: "1:00:00"}}
  training: {{nodes: 2, cores: 1, memory: 2G, walltime: "1:00:00"}}
  prediction: {{workers: 3, cores: 1, memory: 5G, walltime: "1:00:00"}}
"""

ONE_THREAD = {"SLURM_CPUS_ON_NODE": "2", "TF_NUM_INTRAOP_THREADS": "1", "OMP_NUM_THREADS": "1"}
"""Of each of two ranks and of a prediction, as the site file gives them on SLURM: bytes depend on the threads."""


def tomograms(folder: Path, good: int) -> Path:
    """Write `good` tomograms of noise, and three that cannot be used: with a NaN, cut off, and of the wrong size."""
    for number in range(good):
        volume(folder / f"t{number:02d}.mrc", seed=number)
    damaged_volume(folder / "nan.mrc", np.nan)
    whole = volume(folder / "cut.mrc").read_bytes()
    (folder / "cut.mrc").write_bytes(whole[: len(whole) // 2])
    with volume(folder / "size.mrc").open("r+b") as stream:
        stream.write(np.array([24, 24, 0], np.int32).tobytes())  # a header without sections
    return folder


class Runs:
    """Commands on a SLURM cluster, and beside it."""

    def __init__(self, slurm: VirtualSlurm, folder: Path) -> None:
        self.slurm = slurm
        self.folder = folder
        setup = folder / "setup.sh"
        setup.write_text(f"export PYTHONPATH={REPOSITORY}\n")
        self.site = folder / "site.yaml"
        self.write_site()
        environment = {name: value for name, value in slurm.environment.items() if not name.startswith("TF_NUM")}
        self.environment = environment | {"PYTHONPATH": str(REPOSITORY), "MWR_HPC_SITE": str(self.site)}

    def write_site(self, walltime: str = "1:00:00") -> None:
        """Write the site file, with the walltime of the coordinator."""
        text = SITE.format(
            setup=self.folder / "setup.sh",
            scratch=self.folder / "scratch",
            interface=self.slurm.interface,
            walltime=walltime,
        )
        self.site.write_text(text)

    def command(self, *words: object, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the login node to its end."""
        return subprocess.run(
            [*PROGRAM, *map(str, words)],
            env=self.environment | environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=900,
        )

    def locally(self, *words: object) -> subprocess.CompletedProcess[str]:
        """Run a command without SLURM, with the threads of the site file."""
        return self.command(*words, **ONE_THREAD)

    def submitted(self, *words: object) -> str:
        """Submit a run and return its job."""
        ended = self.command("submit", *words)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout.split()[2]

    def ended(self, job: str, log: Path, watch: Callable[[], object] = lambda: None, seconds: float = 900) -> str:
        """Wait for the end of a job, and return its exit code."""

        def has_ended() -> bool:
            watch()
            return self.slurm.state(job) in ENDED

        wait_until(has_ended, f"job {job} did not end:\n{text_of(log)}", seconds)
        return self.slurm.job(job)["ExitCode"]

    def no_job_is_left(self, run: Path) -> bool:
        """Whether all jobs of a run have ended."""
        return run_tag(run) not in self.slurm.run("squeue", "--noheader", "--format=%j")


class Watcher:
    """Looks at a run's status again and again; none may contradict itself or what was seen before."""

    def __init__(self, run: Path) -> None:
        self.run = run
        self.stages: list[str] = []
        self.last: Status | None = None

    def __call__(self) -> None:
        if not (self.run / "config.yaml").exists():
            return
        now = status_of(self.run)
        assert now.done + now.failed <= now.units and now.running <= now.units, now
        assert now.iteration <= now.iterations, now
        if self.last is not None:
            assert now.iteration >= self.last.iteration, (self.last, now)
            assert (now.stage, now.iteration) != (self.last.stage, self.last.iteration) or now.done >= self.last.done
        if now.stage and now.stage not in self.stages[-1:]:
            self.stages.append(now.stage)
        self.last = now


def text_of(path: Path) -> str:
    return path.read_text() if path.exists() else "(nothing)"


def receipts(folder: Path) -> list[dict]:
    """All receipts of a run or sweep, those of finished stages."""
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.open()]


def hosts(found: Sequence[dict], stage: str) -> set[str]:
    """Where the units of a stage ran."""
    return {receipt["host"] for receipt in found if receipt["stage"].startswith(stage)}


def models(run: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in run.glob("results/*.h5")}


def corrected(out: Path) -> dict[str, bytes]:
    return {str(path.relative_to(out)): path.read_bytes() for path in out.rglob("*_corrected.mrc")}


def finished_units(run: Path) -> dict[str, int]:
    """When each unit that is finished was published: models and directories with their receipts."""
    paths = [*run.glob("*/*.zarr/receipt.json"), *run.glob("iterations/*/*/*.zarr/receipt.json")]
    paths += run.glob("results/*.h5")
    return {str(path.relative_to(run)): os.stat(path).st_mtime_ns for path in paths}
