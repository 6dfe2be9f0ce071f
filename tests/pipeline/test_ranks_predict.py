"""Ranks that were lost between training and prediction: the next start has ranks predict, and does not train again."""

import pytest

from commanding import SMALLEST, volume
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.errors import StopRequested
from mwr_hpc.events import ignore, never
from mwr_hpc.pipeline import coordinator
from mwr_hpc.pipeline.backend import OnThisHost
from mwr_hpc.pipeline.launch import InProcess


class RanksThatEndBeforeTheyPredict(OnThisHost):
    """Trains in this process and stops there; tells the jobs."""

    def __init__(self):
        self.jobs = []

    def launcher(self, place, ranks):
        def launch(job):
            self.jobs.append(job)
            if job.train is not None:
                InProcess(ignore, never)(job)
            raise StopRequested("the ranks ended here")

        return launch


def test_the_next_start_launches_ranks_for_what_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(coordinator, "require_horovod", lambda: None)
    for name in "ab":
        volume(tmp_path / f"in/{name}.mrc")
    values = SMALLEST | {"iterations": 2, "ranks": 2, "input_dir": tmp_path / "in", "run_dir": tmp_path / "run"}
    backend = RanksThatEndBeforeTheyPredict()
    for _ in range(2):
        with pytest.raises(StopRequested, match="ended here"):
            coordinator.train(TrainSettings(**values), ignore, never, backend)
    first, second = backend.jobs
    assert first.train is not None and second.train is None
    assert [unit.name for unit in second.predict] == ["a", "b"]
    second.write(tmp_path / "job.json")
    assert type(second).read(tmp_path / "job.json").train is None
