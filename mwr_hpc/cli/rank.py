"""One rank of a training: `python -m mwr_hpc.cli.rank JOB`, started by the coordinator or by srun."""

import os
import sys
from pathlib import Path

from mwr_hpc.cli.output import escape_all_output, say
from mwr_hpc.cluster.progress import marking_progress
from mwr_hpc.cluster.rank_environment import accept_rank, start_of_job
from mwr_hpc.cluster.signals import stop_on_signals
from mwr_hpc.errors import FAULT, DamagedArrayError, InputError, MwrError, StorageError
from mwr_hpc.events import ArrayDamaged, Event, InputRefused, Notice, StorageFailed
from mwr_hpc.io.storage import storage_error


def main(job_path: Path) -> int:
    """Work as the rank that the environment says; return the exit code."""
    escape_all_output()
    try:
        with stop_on_signals() as should_stop:
            # The place among the ranks sets the number of threads, which TensorFlow reads when it is imported.
            placement = accept_rank(job_path.parent)
            from mwr_hpc.pipeline.rank_job import RankJob, work_as_rank
            from mwr_hpc.training.communicator import HorovodCommunicator, SerialCommunicator
            from mwr_hpc.training.hardware import devices_of_rank

            job = RankJob.read(job_path)
            alone = placement is None or placement.size == 1
            communicator = SerialCommunicator() if placement is None or alone else HorovodCommunicator(placement)
            chosen = (job.train or job.predict[0]).execution.get("gpuID")
            devices = devices_of_rank(chosen, placement.local_rank if placement else 0)
            emit = marking_progress(_print_event) if communicator.rank == 0 else _print_notice
            work_as_rank(job, communicator, devices, start_of_job(os.environ), emit, should_stop)
    except StorageError as error:
        return _storage_failed(str(error))
    except MwrError as error:
        say(error, err=True)
        if isinstance(error, DamagedArrayError):
            _print_event(ArrayDamaged(str(error.path), error.what))
        elif error.exit_code == InputError.exit_code:
            _print_event(InputRefused(str(error)))  # of all ranks' exit codes srun passes on the highest only
        return error.exit_code
    except Exception as error:
        if storage_error(error) is None:
            raise
        return _storage_failed(str(error))
    return 0


def _storage_failed(reason: str) -> int:
    """End at once: the other ranks may be waiting for this one, so it is no stop in good order."""
    say(f"the storage failed: {reason}", err=True)
    _print_event(StorageFailed(reason))
    return FAULT


def _print_event(event: Event) -> None:
    from mwr_hpc.pipeline.rank_job import event_line

    say(event_line(event))


def _print_notice(event: Event) -> None:
    """All ranks take the same steps, which rank 0 tells; what befalls one alone is for the log."""
    if isinstance(event, Notice):
        say(event.text)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
