"""Where the work of a run is done: on this host, in jobs of SLURM, or inside one allocation of SLURM.

The coordinator is the same everywhere; it gets its pools and whoever trains from here.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psutil

from mwr_hpc.cluster.allocation import Allocation, allocation_pool, ranks_argv
from mwr_hpc.cluster.job_name import JobName, run_tag
from mwr_hpc.cluster.local_pool import local_pool
from mwr_hpc.cluster.pool import Finished, InlinePool, Pool, available_cores
from mwr_hpc.cluster.slurm import Slurm
from mwr_hpc.cluster.slurm_pool import slurm_pool
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.config.site import SiteProfile, WorkerResources, ranks_of_site
from mwr_hpc.events import Emit, ShouldStop
from mwr_hpc.pipeline.launch import InProcess, Launcher, LocalRanks
from mwr_hpc.pipeline.speed import Speed, assumed_speed, measured_speed
from mwr_hpc.pipeline.training_job import TrainingJobs, require_no_job
from mwr_hpc.training.hardware import available_threads, is_gpu_visible

PREPARATION, PREDICTION = "prepare", "predict"
"""Units in the names of worker jobs."""

PICKING_MEMORY = 2**31
"""Bytes of a process that picks: half is TensorFlow's own, the rest a micrograph of 60 megapixels."""


@dataclass(frozen=True)
class Place:
    """One call's work as a backend sees it.

    Attributes
    ----------
    folder
        The run directory, or the folder of a sweep's results: names the jobs.
    state
        Folder for keys and records, which all nodes see.
    logs
        Folder for the output of jobs and ranks.
    emit, should_stop
        As everywhere.
    """

    folder: Path
    state: Path
    logs: Path
    emit: Emit
    should_stop: ShouldStop

    @property
    def run(self) -> str:
        """The run in the names of jobs."""
        return run_tag(self.folder)

    @property
    def secrets(self) -> Path:
        """Folder for keys."""
        return self.state / ".secrets"

    @property
    def records(self) -> Path:
        """Folder for the attempts at jobs."""
        return self.state / "jobs"


class Backend(Protocol):
    """Where work is done."""

    def ranks(self, asked: int) -> int:
        """How many ranks train, where `asked` is what the command says.

        Raises
        ------
        ConfigError
            They cannot be that many.
        """
        ...

    def speed(self, settings: TrainSettings) -> Speed:
        """How fast one rank trains."""
        ...

    def take_over(self, place: Place, adopt: bool) -> None:
        """Deal with what goes on from a coordinator before this one: only for who holds the run.

        A training job is waited for when `adopt` is true, else ended; afterwards nobody writes in the run.
        """
        ...

    def preparation(self, place: Place, units: int, processes: int | None) -> AbstractContextManager[Pool]:
        """A pool for at most `units` units at once that take a core each; `processes` is what the command says."""
        ...

    def prediction(self, place: Place) -> AbstractContextManager[Pool]:
        """A pool for units that take all cores or GPUs they see."""
        ...

    def picking(self, place: Place, units: int, processes: int | None) -> AbstractContextManager[Pool]:
        """A pool for at most `units` units at once that take a GPU each, or a core where there is none."""
        ...

    def launcher(self, place: Place, ranks: int) -> Launcher:
        """Who trains."""
        ...


class OnThisHost:
    """Everything on this host."""

    def ranks(self, asked: int) -> int:
        """As many as asked for."""
        return asked

    def speed(self, settings: TrainSettings) -> Speed:
        """Measured here; several ranks share this host."""
        return measured_speed(settings, settings.ranks)

    def take_over(self, place: Place, adopt: bool) -> None:
        """Nothing outlives a coordinator on its own host; one on SLURM may have been before it."""
        require_no_job(place.folder, place.records, place.run)

    def preparation(self, place: Place, units: int, processes: int | None) -> AbstractContextManager[Pool]:
        """Worker processes."""
        return local_pool(min(processes or available_cores(), units))

    def prediction(self, place: Place) -> AbstractContextManager[Pool]:
        """This process."""
        return nullcontext(InlinePool())

    def picking(self, place: Place, units: int, processes: int | None) -> AbstractContextManager[Pool]:
        """This process where there is a GPU and nobody asked for several; else worker processes that memory allows."""
        if processes is None and is_gpu_visible():
            return nullcontext(InlinePool())
        most = processes or max(1, min(available_threads(), psutil.virtual_memory().total // PICKING_MEMORY))
        return PoolOnDemand(lambda: local_pool(min(most, units)))

    def launcher(self, place: Place, ranks: int) -> Launcher:
        """This process, or several ranks."""
        if ranks == 1:
            return InProcess(place.emit, place.should_stop)
        return LocalRanks(ranks, place.logs, place.emit, place.should_stop)


ON_THIS_HOST = OnThisHost()


@dataclass(frozen=True)
class OnSlurm:
    """Workers and ranks in jobs of SLURM, which the site profile describes."""

    site: SiteProfile
    interval: float = 5.0

    def ranks(self, asked: int) -> int:
        """As many as the site's training job has."""
        return ranks_of_site(asked, self.site.training.nodes * self.site.training.ranks)

    def speed(self, settings: TrainSettings) -> Speed:
        """Assumed, by what the site's training job asks for: the coordinator cannot measure another node."""
        return assumed_speed(self.site.training)

    def take_over(self, place: Place, adopt: bool) -> None:
        """End orphaned workers; wait for the training job, or end it too."""
        slurm = Slurm(should_stop=place.should_stop)
        jobs = slurm.jobs_of(place.run).items()
        slurm.end([job.id for name, job in jobs if name.unit in (PREPARATION, PREDICTION)])
        training = self._training(place)
        if adopt:
            training.adopt()
        else:
            training.end()

    def preparation(self, place: Place, units: int, processes: int | None) -> AbstractContextManager[Pool]:
        """Worker jobs with a unit on each core."""
        resources = self.site.preparation
        return self._pool(place, resources, PREPARATION, resources.cores)

    def prediction(self, place: Place) -> AbstractContextManager[Pool]:
        """Worker jobs with one unit at a time."""
        return PoolOnDemand(lambda: self._pool(place, self.site.prediction, PREDICTION, 1))

    def picking(self, place: Place, units: int, processes: int | None) -> AbstractContextManager[Pool]:
        """Worker jobs as for prediction, but with a unit on each core where they have no GPU."""
        return PoolOnDemand(lambda: self._pool(place, self.site.prediction, PREDICTION, picks_at_once(self.site)))

    def launcher(self, place: Place, ranks: int) -> Launcher:
        """A job for each iteration."""
        return self._training(place)

    def _training(self, place: Place) -> TrainingJobs:
        slurm = Slurm(should_stop=place.should_stop)
        return TrainingJobs(
            self.site, slurm, place.run, place.records, place.logs, place.emit, place.should_stop, self.interval
        )

    def _pool(
        self, place: Place, resources: WorkerResources, unit: str, units_at_once: int
    ) -> AbstractContextManager[Pool]:
        return slurm_pool(
            self.site,
            resources,
            JobName(place.run, unit),
            units_at_once=units_at_once,
            secrets=place.secrets,
            logs=place.logs,
            should_stop=place.should_stop,
            interval=self.interval,
        )


@dataclass(frozen=True)
class InAllocation:
    """Workers and ranks on the nodes of the allocation that this process runs in."""

    allocation: Allocation
    site: SiteProfile

    def ranks(self, asked: int) -> int:
        """As many on each node as the site's training job has there."""
        return ranks_of_site(asked, self.allocation.nodes * self.site.training.ranks)

    def speed(self, settings: TrainSettings) -> Speed:
        """Measured on this node, which the others are like."""
        return measured_speed(settings, self.site.training.ranks)

    def take_over(self, place: Place, adopt: bool) -> None:
        """Nothing outlives an allocation; a coordinator elsewhere on SLURM may have been before it."""
        require_no_job(place.folder, place.records, place.run)

    def preparation(self, place: Place, units: int, processes: int | None) -> AbstractContextManager[Pool]:
        """A worker on each core of each node."""
        return self._pool(place, self.allocation.cores)

    def prediction(self, place: Place) -> AbstractContextManager[Pool]:
        """One worker on each node."""
        return PoolOnDemand(lambda: self._pool(place, 1))

    def picking(self, place: Place, units: int, processes: int | None) -> AbstractContextManager[Pool]:
        """A worker on each core of each node; one on each node where the site file says that they have GPUs."""
        units_at_once = 1 if self.site.prediction.gpu_count else self.allocation.cores
        return PoolOnDemand(lambda: self._pool(place, units_at_once))

    def launcher(self, place: Place, ranks: int) -> Launcher:
        """Ranks on all nodes."""

        def on_all_nodes(command: Sequence[str]) -> list[str]:
            return ranks_argv(self.allocation, self.site.training.ranks, command)

        return LocalRanks(1, place.logs, place.emit, place.should_stop, launched_by=on_all_nodes)

    def _pool(self, place: Place, units_at_once: int) -> AbstractContextManager[Pool]:
        return allocation_pool(
            self.allocation,
            units_at_once,
            interface=self.site.interface,
            scratch=self.site.scratch,
            secrets=place.secrets,
            logs=place.logs,
        )


class PoolOnDemand:
    """Opens a pool once there is something to do; in a training the ranks have mostly predicted everything already."""

    def __init__(self, open_pool: Callable[[], AbstractContextManager[Pool]]) -> None:
        self._open_pool = open_pool
        self._opened = ExitStack()
        self._pool: Pool | None = None

    def __enter__(self) -> "PoolOnDemand":
        return self

    def __exit__(self, *exception: Any) -> None:
        self._opened.__exit__(*exception)

    def run(self, function: Callable[..., Any], tasks: Iterable[Any], should_stop: ShouldStop) -> Iterator[Finished]:
        """Yield each task's end as it comes; see `Pool`."""
        waiting = list(tasks)
        if not waiting:
            return
        if self._pool is None:
            self._pool = self._opened.enter_context(self._open_pool())
        yield from self._pool.run(function, waiting, should_stop)


def picks_at_once(site: SiteProfile) -> int:
    """Micrographs that a worker job picks side by side."""
    return 1 if site.prediction.gpu_count else site.prediction.cores
