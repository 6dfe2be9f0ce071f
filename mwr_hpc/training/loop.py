"""The training loop of every network here: epochs of steps, checkpoints, curves, and stopping in good order."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mwr_hpc.errors import StageError, StopRequested
from mwr_hpc.events import Emit, EpochFinished, Notice, ShouldStop, TrainingStep
from mwr_hpc.training.checkpoint import Checkpoint, CheckpointFolder
from mwr_hpc.training.communicator import Communicator
from mwr_hpc.training.curves import Curve, curve_record, write_curves
from mwr_hpc.training.engine import Batch, Engine
from mwr_hpc.training.framework import tf
from mwr_hpc.training.prefetch import prefetched
from mwr_hpc.training.sampler import SampleId, check_batch_size, part_of_rank
from mwr_hpc.training.schedule import SampleSource, Schedule, mean_loss

CHECKPOINT_SECONDS = 300.0
"""Longest time between checkpoints: what a kill may cost."""


@dataclass
class _Clock:
    """Where an epoch's wall time went, in seconds."""

    input_wait: float = 0.0
    compute: float = 0.0
    allreduce: float = 0.0
    samples: int = 0
    started: float = field(default_factory=time.perf_counter)


def run_training(
    engine: Engine,
    schedule: Schedule,
    source: SampleSource,
    checkpoints: CheckpointFolder,
    config_hash: str,
    *,
    curves_path: Path,
    emit: Emit,
    should_stop: ShouldStop,
) -> list[Curve]:
    """Train from the newest checkpoint, or from the model's present weights, to the end of the schedule.

    Parameters
    ----------
    engine
        The model, its optimiser and its ranks.
    schedule, source
        What is trained on.
    checkpoints
        Where to go on from, and where rank 0 writes: after every epoch, every five minutes and when stopped.
    config_hash
        Identifies the training; checkpoints of another are not used, and removed where it begins anew.
    curves_path
        ``curves.jsonl``, written by rank 0 after every epoch.
    emit, should_stop
        The observer, and the question whether to stop.

    Returns
    -------
    list of dict
        The curves of all epochs.

    Raises
    ------
    StopRequested
        `should_stop` was true on a rank; the state is in a checkpoint.
    StageError
        The loss is NaN or infinite, or memory does not suffice.
    ConfigError
        The ranks do not divide the batch.
    """
    check_batch_size(schedule.sampler.batch_size, engine.communicator.size, engine.group or 1)
    run = _Run(engine, schedule, source, checkpoints, config_hash, curves_path, emit, should_stop, engine.communicator)
    try:
        return run.complete()
    except tf.errors.ResourceExhaustedError as error:
        raise StageError(
            f"not enough memory for a step with --batch_size {schedule.sampler.batch_size}: {_first_line(error)}. "
            f"Lower --batch_size, else {schedule.smaller}."
        ) from error


@dataclass
class _Run:
    """One call of `run_training`: the position in the schedule and what has been summed so far."""

    engine: Engine
    schedule: Schedule
    source: SampleSource
    checkpoints: CheckpointFolder
    config_hash: str
    curves_path: Path
    emit: Emit
    should_stop: ShouldStop
    communicator: Communicator
    step: int = 0
    loss_sum: float = 0.0
    weight_sum: float = 0.0
    curves: list[Curve] = field(default_factory=list)
    saved: float = field(default_factory=time.monotonic)

    def complete(self) -> list[Curve]:
        self._resume()
        if self.step == 0 and self.schedule.judge is not None:
            validation_loss, figures = self._judged()
            self.curves.append({"epoch": 0, "validation_loss": validation_loss, **figures})
        per_epoch = self.schedule.sampler.steps
        while self.step < self.schedule.steps:
            epoch = self.step // per_epoch + 1
            clock = _Clock()
            order = self.schedule.sampler.epoch(epoch)
            for batch in self._timed(self._batches(order), clock):
                self._take_step(batch, order, epoch, clock)
            self._finish_epoch(epoch, clock)
        return self.curves

    def _resume(self) -> None:
        """Rank 0 reads, all get the same: a file that one rank sees late must not part the ranks."""
        found = None
        if self.communicator.rank == 0:
            found = self.checkpoints.newest(self.config_hash, self.emit)
            if found is None:
                self.checkpoints.clear(self.emit)
        position = np.array([found.step, found.loss_sum, found.weight_sum] if found else [-1.0, 0.0, 0.0])
        step, self.loss_sum, self.weight_sum = self.communicator.broadcast(position).tolist()
        weights, optimiser = (found.weights, found.optimiser) if found else self.engine.state()
        self.engine.restore(weights, optimiser)
        self.step = max(0, int(step))
        if found is not None:
            self.curves = list(found.curves)
            self.emit(Notice(f"going on with the training after step {self.step} of {self.schedule.steps}"))
            if found.ranks != self.communicator.size:
                self.emit(
                    Notice(
                        f"{found.ranks} ranks did the steps before, {self.communicator.size} do the rest: they add in "
                        "another order, so the weights will differ in their last digits from those of either number"
                    )
                )

    def _batches(self, order: Sequence[SampleId]) -> Iterator[Batch]:
        """This rank's parts of the epoch's remaining batches."""
        sampler = self.schedule.sampler
        first = self.step // sampler.steps * sampler.steps

        def make(step: int) -> Batch:
            batch = _global_batch(order, step - first, sampler.batch_size)
            return self.source.training_batch(part_of_rank(batch, self.communicator.rank, self.communicator.size), step)

        return prefetched(make, range(self.step, first + sampler.steps))

    def _timed(self, batches: Iterator[Batch], clock: _Clock) -> Iterator[Batch]:
        while True:
            started = time.perf_counter()
            batch = next(batches, None)
            clock.input_wait += time.perf_counter() - started
            if batch is None:
                return
            yield batch

    def _take_step(self, batch: Batch, order: Sequence[SampleId], epoch: int, clock: _Clock) -> None:
        sampler = self.schedule.sampler
        number = self.step % sampler.steps
        started = time.perf_counter()
        flat = self.engine.gradients(batch, self.should_stop())
        flat[-3:].numpy()  # waits for the device, so that the allreduce is timed alone
        computed = time.perf_counter()
        flat = self.communicator.allreduce(flat)
        loss_sum, weight_sum, stop = (float(value) for value in flat[-3:].numpy())
        reduced = time.perf_counter()
        if not (np.isfinite(loss_sum) and self.engine.apply(flat)):
            samples = _global_batch(order, number, sampler.batch_size)
            raise StageError(
                f"the loss or its gradient is not a number in step {number + 1} of epoch {epoch}, samples "
                f"{', '.join('/'.join(map(str, sample)) for sample in samples)}. "
                f"Look at these inputs for extreme values; if they are sound, lower {self.schedule.slower}."
            )
        clock.allreduce += reduced - computed
        clock.compute += time.perf_counter() - started - (reduced - computed)
        clock.samples += sampler.batch_size
        self.step += 1
        self.loss_sum += loss_sum
        self.weight_sum += weight_sum
        loss = loss_sum / weight_sum if weight_sum else 0.0
        self.emit(TrainingStep(epoch, self.schedule.epochs, number + 1, sampler.steps, loss))
        last = number + 1 == sampler.steps
        if stop and not last:
            self._save()
            self._stop()
        if not last and time.monotonic() - self.saved > CHECKPOINT_SECONDS:
            self._save()

    def _finish_epoch(self, epoch: int, clock: _Clock) -> None:
        mean = self.loss_sum / self.weight_sum if self.weight_sum else 0.0
        seconds = max(time.perf_counter() - clock.started, 1e-9)
        validation_loss, figures = self._judged()
        event = EpochFinished(
            iteration=self.schedule.sampler.iteration,
            epoch=epoch,
            epochs=self.schedule.epochs,
            loss=mean,
            validation_loss=validation_loss,
            samples_per_second=clock.samples / seconds,
            input_wait=clock.input_wait / seconds,
            compute=clock.compute / seconds,
            allreduce=clock.allreduce / seconds,
            figures=figures,
        )
        self.curves.append(curve_record(event))
        self.loss_sum = self.weight_sum = 0.0
        self._save()
        if self.communicator.rank == 0:
            write_curves(self.curves_path, self.curves)
        self.emit(event)
        stop = self.communicator.allreduce(tf.constant([float(self.should_stop())]))
        if float(stop[0]) and self.step < self.schedule.steps:
            self._stop()

    def _judged(self) -> tuple[float | None, dict[str, float]]:
        """Return the validation loss and the other figures of the model that the training would end with now."""
        size = self.schedule.sampler.batch_size // self.communicator.size
        with self.engine.averaged():
            loss = mean_loss(self.engine, self.source, self.schedule.validation, size)
            return loss, self.schedule.judge() if self.schedule.judge is not None else {}

    def _stop(self) -> None:
        self.communicator.barrier()
        raise StopRequested(
            f"stopped after step {self.step} of {self.schedule.steps} of the training; the checkpoint is written"
        )

    def _save(self) -> None:
        self.saved = time.monotonic()
        if self.communicator.rank != 0:
            return
        weights, optimiser = self.engine.state()
        self.checkpoints.write(
            Checkpoint(
                config_hash=self.config_hash,
                step=self.step,
                steps=self.schedule.steps,
                loss_sum=self.loss_sum,
                weight_sum=self.weight_sum,
                ranks=self.communicator.size,
                curves=self.curves,
                weights=weights,
                optimiser=optimiser,
            )
        )


def _global_batch(order: Sequence[SampleId], step: int, batch_size: int) -> Sequence[SampleId]:
    return order[step * batch_size : (step + 1) * batch_size]


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0]
