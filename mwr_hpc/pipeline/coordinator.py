"""The main job: convert, extract, then prepare, train and predict, iteration after iteration.

The run directory is the truth. Whatever has a valid receipt is skipped, so the same call goes on wherever the last one
ended, and there is no other state to restore.
"""

import shutil
from contextlib import ExitStack
from dataclasses import dataclass

from mwr_hpc.cluster.pool import Pool
from mwr_hpc.config.schema import TrainSettings
from mwr_hpc.events import Emit, IterationStarted, ShouldStop
from mwr_hpc.io.atomic import disk_full_reported, without_partials
from mwr_hpc.missing_wedge.cohort import write_cohort
from mwr_hpc.missing_wedge.entries import Cohort, TomogramEntry
from mwr_hpc.pipeline.assumptions import tell_assumptions, tell_kept_readings
from mwr_hpc.pipeline.backend import ON_THIS_HOST, Backend, Place
from mwr_hpc.pipeline.event_log import recording
from mwr_hpc.pipeline.launch import Launcher
from mwr_hpc.pipeline.lock import RunLock
from mwr_hpc.pipeline.lost_receipts import rebuild_receipts
from mwr_hpc.pipeline.quarantine import Quarantine
from mwr_hpc.pipeline.rank_job import RankJob
from mwr_hpc.pipeline.receipts import Receipt, ReceiptBook
from mwr_hpc.pipeline.sizing import settle_size
from mwr_hpc.pipeline.stages import Outcome, StageRunner, nothing_usable
from mwr_hpc.pipeline.starting import (
    check_before_start,
    cohort_as_named,
    continue_from,
    freeze_settings,
    goes_back,
    large_enough,
    tell_misfits,
    tell_unused_input,
    with_ranks,
    write_unusable,
)
from mwr_hpc.pipeline.telling_defects import tell_defects
from mwr_hpc.pipeline.training_units import TrainingUnits, newest_trained, own_models
from mwr_hpc.pipeline.units import Claim, Unit
from mwr_hpc.pipeline.untrained import differences
from mwr_hpc.run_directory import RunDirectory
from mwr_hpc.training.communicator import require_horovod
from mwr_hpc.training.sampler import check_batch_size

KEPT_ITERATIONS = 2
"""How many iterations keep their arrays; of the older ones the model and the curves remain."""


def train(settings: TrainSettings, emit: Emit, should_stop: ShouldStop, backend: Backend = ON_THIS_HOST) -> Outcome:
    """Train on a cohort, or go on with it.

    Parameters
    ----------
    settings
        As resolved from defaults, files, environment and command line.
    emit
        Called with every event.
    should_stop
        Polled; once it is true the run stops in good order.
    backend
        Where the work is done.

    Returns
    -------
    Outcome
        The models, the tomograms that were left out with their reasons, and those that the newest model does not know.

    Raises
    ------
    ConfigError
        The settings do not fit the run directory, or another coordinator holds it.
    InputError
        No usable tomogram, a missing mask, or no space left.
    StopRequested
        After a stop in good order.
    """
    settings = with_ranks(settings, backend.ranks(settings.ranks))
    if settings.ranks > 1:
        require_horovod()
    tell_unused_input(settings, emit)
    run = RunDirectory(settings.run_dir, settings.result_dir)
    named = cohort_as_named(settings)
    settings = settle_size(settings, run, named.entries, backend, emit)
    check_batch_size(settings.batch_size, settings.ranks)
    cohort = large_enough(named, settings)
    check_before_start(settings, run)
    tell_misfits(settings, cohort, emit)
    tell_assumptions(cohort, emit)
    with (
        disk_full_reported(run.root),
        RunLock(run.lock, emit=emit, should_stop=should_stop) as lock,
        ExitStack() as entered,
    ):
        if run.results_lock is not None:
            results_lock = RunLock(run.results_lock, option="--result_dir", emit=emit, should_stop=should_stop)
            entered.enter_context(results_lock)
            should_stop = results_lock.until_lost(should_stop)
        should_stop = lock.until_lost(should_stop)
        frozen = freeze_settings(settings, run, emit)
        log = recording(run.events, emit)
        place = Place(run.root, run.root, run.logs, log, should_stop)
        book = ReceiptBook(run.receipts)
        rebuild_receipts(run, book, log)
        backend.take_over(place, adopt=not goes_back(frozen, run, book))
        entered.enter_context(without_partials([run.root, run.results], run.own_folders, lock.is_held))
        continue_from(frozen, run, book, emit)
        write_cohort(run.cohort, cohort.entries)
        write_unusable(run.unusable, cohort.problems)
        quarantine = Quarantine(run.quarantine)
        claim = Claim(run.lock, lock.token)
        runner = StageRunner(book, quarantine, claim, run.logs, log, should_stop)
        launch = backend.launcher(place, frozen.ranks)
        processes = frozen.preprocessing_ncpus
        with (
            backend.preparation(place, len(cohort.entries), processes) as preparation,
            backend.prediction(place) as prediction,
        ):
            units = TrainingUnits(frozen, run, book)
            run.untrained.unlink(missing_ok=True)
            untrained = _Job(frozen, run, cohort, units, runner, claim, launch, preparation, prediction, log).run()
        write_unusable(run.untrained, untrained)
        failed = cohort.problems | quarantine.reasons(cohort.ids)
        return Outcome(failed, list(own_models(run, book).values()), untrained)


@dataclass(frozen=True)
class _Job:
    """One call's passage through the stages."""

    settings: TrainSettings
    run_directory: RunDirectory
    cohort: Cohort
    units: TrainingUnits
    runner: StageRunner
    claim: Claim
    launch: Launcher
    preparation: Pool
    prediction: Pool
    emit: Emit

    def run(self) -> dict[str, str]:
        """Do all that is not done; return what the newest model was not trained on, as `differences` does."""
        conversions, kept = self.units.conversions(self.cohort.entries)
        tell_kept_readings(kept, self.emit)
        converted = self._stage("convert", conversions)
        if self.settings.begun_by:
            tell_defects(converted, self.emit)
        held_out = self.units.held_out(sorted(converted))
        entries = [entry for entry in self.cohort.entries if entry.id in converted]
        extracted = self._stage("extract", self.units.extractions(entries, converted, held_out))
        entries = [entry for entry in entries if entry.id in extracted]
        newest = newest_trained(self.run_directory, self.units.book)
        predicted: dict[str, Receipt] = {}
        for iteration in range(max(1, newest), self.settings.iterations + 1):
            self.emit(IterationStarted(iteration, self.settings.iterations))
            # Before more is written, so that there are never the arrays of more iterations than are kept.
            self._remove_arrays(iteration - KEPT_ITERATIONS)
            if iteration > newest:
                pairs = self._make_pairs(iteration, entries, extracted, predicted)
                self._train(iteration, entries, pairs, held_out, converted, extracted)
            elif iteration < self.settings.iterations and self.settings.ranks > 1:
                self._have_ranks_predict(iteration, entries, extracted)
            if iteration < self.settings.iterations:
                predicted = self._predict(iteration, entries, extracted)
        last = max(newest, self.settings.iterations)
        return differences(self.units, last, entries, extracted, self.cohort.ids, held_out)

    def _stage(self, stage: str, units: list[Unit], pool: Pool | None = None) -> dict[str, Receipt]:
        receipts = self.runner.run(stage, units, pool or self.preparation)
        if not receipts:
            failures = self.cohort.problems | self.runner.quarantine.reasons(self.cohort.ids)
            raise nothing_usable("tomograms can be used", failures)
        return receipts

    def _make_pairs(
        self,
        iteration: int,
        entries: list[TomogramEntry],
        extracted: dict[str, Receipt],
        predicted: dict[str, Receipt],
    ) -> dict[str, Receipt]:
        units = [
            self.units.pairs(entry, iteration, extracted[entry.id], predicted.get(entry.id))
            for entry in entries
            if iteration == 1 or entry.id in predicted
        ]
        return self._stage(f"pairs_{iteration:02d}", units)

    def _train(
        self,
        iteration: int,
        entries: list[TomogramEntry],
        pairs: dict[str, Receipt],
        held_out: frozenset[str],
        converted: dict[str, Receipt],
        extracted: dict[str, Receipt],
    ) -> None:
        """Train; a failure of the training is nobody's input's, so it is raised as it is."""
        training_set = self.units.training_set([entry for entry in entries if entry.id in pairs], converted)
        unit = self.units.train(iteration, pairs, held_out, training_set)
        last = iteration == self.settings.iterations
        predict = [] if last else [self.units.predict(entry, iteration, extracted[entry.id], None) for entry in entries]
        job = self._rank_job(iteration, unit, predict)
        self.runner.run_one(unit, lambda: self.launch(job))

    def _have_ranks_predict(self, iteration: int, entries: list[TomogramEntry], extracted: dict[str, Receipt]) -> None:
        """What ranks that were killed after their training have left."""
        units = self._predictions(iteration, entries, extracted)
        if left := self.runner.unfinished(f"predicted_{iteration:02d}", units):
            self.launch(self._rank_job(iteration, None, left))

    def _rank_job(self, iteration: int, train: Unit | None, predict: list[Unit]) -> RankJob:
        return RankJob(
            train=train,
            predict=predict,
            model=self.run_directory.model(iteration),
            claim=self.claim,
            checkpoint_folder=self.run_directory.checkpoint(iteration),
            curves_path=self.run_directory.curves(iteration),
        )

    def _predict(
        self, iteration: int, entries: list[TomogramEntry], extracted: dict[str, Receipt]
    ) -> dict[str, Receipt]:
        units = self._predictions(iteration, entries, extracted)
        return self._stage(f"predicted_{iteration:02d}", units, self.prediction)

    def _predictions(self, iteration: int, entries: list[TomogramEntry], extracted: dict[str, Receipt]) -> list[Unit]:
        model = self.units.book.get("train", f"{iteration:02d}")
        assert model is not None, "an iteration is predicted only after its training"
        return [self.units.predict(entry, iteration, extracted[entry.id], model) for entry in entries]

    def _remove_arrays(self, up_to: int) -> None:
        """Of iterations up to this one only the curves remain: their arrays can be made again and are large."""
        for iteration in self.run_directory.existing_iterations():
            if iteration <= up_to:
                for name in ("pairs", "predicted", "checkpoint"):
                    shutil.rmtree(self.run_directory.iteration(iteration) / name, ignore_errors=True)
