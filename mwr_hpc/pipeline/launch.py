"""Who trains: this process alone, several ranks on this host, or on the nodes of an allocation."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from mwr_hpc.cluster.private_network import NoPrivateNetworkError, private_network
from mwr_hpc.cluster.ranks import run_ranks
from mwr_hpc.errors import ClusterError, InputError
from mwr_hpc.events import Emit, Notice, ShouldStop
from mwr_hpc.io import storage
from mwr_hpc.pipeline.rank_job import Blame, RankJob, is_event, showing
from mwr_hpc.pipeline.units import run_unit
from mwr_hpc.training.communicator import SerialCommunicator

Launcher = Callable[[RankJob], None]
"""Does the work of a job and comes back when it is done; errors of the training are raised."""


JOB_FILE = "rank_job.json"
"""Name of the ranks' job in the iteration's folder; jobs/train.sbatch looks for it too."""


def rank_command(job_file: Path) -> list[str]:
    """The program of one rank."""
    return [sys.executable, "-m", "mwr_hpc.cli.rank", str(job_file)]


@dataclass(frozen=True)
class InProcess:
    """Trains in this process, which keeps TensorFlow for the next iteration; the coordinator predicts by itself."""

    emit: Emit
    should_stop: ShouldStop
    communicator: SerialCommunicator = field(default_factory=SerialCommunicator)

    def __call__(self, job: RankJob) -> None:
        """Train as the only rank."""
        assert job.train is not None
        run_unit(
            job.train,
            job.claim,
            checkpoint_folder=job.checkpoint_folder,
            curves_path=job.curves_path,
            communicator=self.communicator,
            emit=self.emit,
            should_stop=self.should_stop,
            pauses=storage.PAUSES,
        )


@dataclass(frozen=True)
class LocalRanks:
    """Trains and predicts on several ranks of this host.

    Parameters
    ----------
    ranks
        How many.
    logs
        Folder for the ranks' whole output.
    launched_by
        From a rank's command line to the one that is started `ranks` times: of a program that starts the ranks on
        other hosts, once.
    refusals
        Why the ranks of this host share its network with everybody, once that has been said.
    """

    ranks: int
    logs: Path
    emit: Emit
    should_stop: ShouldStop
    launched_by: Callable[[Sequence[str]], Sequence[str]] = list
    refusals: list[str] = field(default_factory=list)

    def __call__(self, job: RankJob) -> None:
        """Start the ranks and stay with them."""
        folder = job.curves_path.parent
        job_file = folder / JOB_FILE
        job.write(job_file)
        self.logs.mkdir(parents=True, exist_ok=True)
        blame = Blame(self.emit)
        try:
            with self._network() as network:
                run_ranks(
                    self.launched_by(rank_command(job_file)),
                    self.ranks,
                    meeting_folder=folder,
                    log=self.logs / f"ranks_{folder.name}.log",
                    show=showing(blame, lambda line: self.emit(Notice(line))),
                    quoted=lambda line: not is_event(line),
                    should_stop=self.should_stop,
                    network=network,
                )
        except ClusterError as error:
            raise blame.found_in(error) from None
        except InputError as error:
            raise blame.damage or error from None
        finally:
            job_file.unlink(missing_ok=True)

    @contextmanager
    def _network(self) -> Iterator[Sequence[int]]:
        """A private network where all ranks are on this host and its kernel allows it."""
        with ExitStack() as opened:
            network: Sequence[int] = ()
            if self.ranks > 1:
                try:
                    network = opened.enter_context(private_network())
                except NoPrivateNetworkError as error:
                    self._say_once(str(error))
            yield network

    def _say_once(self, refusal: str) -> None:
        if not self.refusals:
            text = "the ranks have no network of their own, so other accounts of this host can reach and disturb them"
            self.emit(Notice(f"{text} ({refusal}); see docs/horovod.md", warning=True))
        self.refusals.append(refusal)
