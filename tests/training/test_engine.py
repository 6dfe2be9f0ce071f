"""The engine and its loop: right sums, exact continuation, stopping, failing."""

import threading
from dataclasses import replace

import numpy as np
import pytest

from mwr_hpc.errors import ConfigError, StageError, StopRequested
from mwr_hpc.events import EpochFinished, Notice, TrainingStep, never
from mwr_hpc.training.curves import read_curves

from .learning import SAMPLES, SMALL, RandomCubes, make_engine, train


def weights_of(engine):
    return [variable.numpy() for variable in engine.model.weights]


def everything_of(engine):
    """All bytes of the model and of the optimiser."""
    return [values.tobytes() for group in engine.state() for values in group]


def stop_after(count):
    asked = iter(range(10**6))
    return lambda: next(asked) >= count


def test_the_vector_is_the_gradient_of_the_weighted_sum_and_its_sums():
    engine = make_engine()
    batch = RandomCubes().validation_batch(SAMPLES[:2])
    half = batch._replace(weight=np.concatenate([batch.weight[:1], 0 * batch.weight[1:]]))
    flat = engine.gradients(half).numpy()
    # An untrained network returns its input: the loss is that of x against x / 2, in the first cube alone.
    assert flat[-3] == pytest.approx(np.sum((0.5 * batch.x[0]) ** 2), rel=1e-5)
    assert flat[-2] == batch.x[0].size
    assert flat[-1] == 0 and engine.gradients(half, stop=True)[-1] == 1
    # The last layer's bias moves every voxel of the output: its derivative is the sum of 2 (x - y).
    names = [variable.path for variable in engine.model.trainable_variables]
    sizes = [variable.value.shape.num_elements() for variable in engine.model.trainable_variables]
    place = int(np.cumsum([0, *sizes])[names.index("last/bias")])
    assert flat[place] == pytest.approx(np.sum(2 * (half.x - half.y) * half.weight), rel=1e-4)


def test_the_vectors_of_two_ranks_add_up_to_that_of_the_whole_batch():
    engine = make_engine(replace(SMALL, dropout=0.3))
    source = RandomCubes()
    whole = engine.gradients(source.training_batch(SAMPLES[:4], 7)).numpy()
    parts = sum(engine.gradients(source.training_batch(part, 7)).numpy() for part in (SAMPLES[:2], SAMPLES[2:4]))
    assert np.linalg.norm(parts - whole) < 1e-5 * np.linalg.norm(whole)


def test_it_learns_and_tells(tmp_path):
    events = []
    engine = make_engine()
    curves = train(engine, tmp_path, epochs=6, steps=20, validation=SAMPLES[:2], emit=events.append)
    assert curves[-1]["loss"] < 0.5 * curves[0]["loss"]
    assert curves[-1]["validation_loss"] < curves[0]["validation_loss"]
    assert len([event for event in events if isinstance(event, TrainingStep)]) == 120
    ends = [event for event in events if isinstance(event, EpochFinished)]
    assert len(ends) == 6
    assert all(0 <= e.input_wait + e.compute + e.allreduce <= 1 for e in ends)
    assert read_curves(tmp_path / "curves.jsonl") == curves


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("stop", [1, 3, 4])
def test_stopping_and_going_on_is_never_stopping_bit_for_bit(tmp_path, precision, stop):
    architecture = replace(SMALL, dropout=0.3)
    engine = make_engine(architecture, precision)
    expected = train(engine, tmp_path / "a")
    undisturbed = everything_of(engine)
    with pytest.raises(StopRequested):
        train(make_engine(architecture, precision), tmp_path / "b", should_stop=stop_after(stop))
    assert everything_of(engine)[0] != undisturbed[0]
    resumed = make_engine(architecture, precision)
    curves = train(resumed, tmp_path / "b")
    assert everything_of(resumed) == undisturbed
    assert [curve["loss"] for curve in curves] == [curve["loss"] for curve in expected]


def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path):
    engine = make_engine()
    train(engine, tmp_path / "b")
    undisturbed = everything_of(engine)
    newest = max((tmp_path / "b" / "checkpoint").iterdir())
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(bytes(content))
    events = []
    resumed = make_engine()
    train(resumed, tmp_path / "b", emit=events.append)
    assert any(isinstance(e, Notice) and e.warning and newest.name in e.text for e in events)
    assert len([e for e in events if isinstance(e, TrainingStep)]) == 3
    assert everything_of(resumed) == undisturbed


def test_a_finished_training_is_not_repeated(tmp_path):
    engine, events = make_engine(), []
    train(engine, tmp_path)
    finished = everything_of(engine)
    train(make_engine(), tmp_path, emit=events.append)
    assert not [event for event in events if isinstance(event, TrainingStep)]
    assert everything_of(engine) == finished


def test_a_loss_that_is_no_number_names_the_samples(tmp_path):
    class Poisoned(RandomCubes):
        def training_batch(self, samples, step):
            batch = super().training_batch(samples, step)
            if step == 1:
                batch.x[0, 0, 0, 0, 0] = np.nan
            return batch

    seen = []
    with pytest.raises(StageError, match=r"step 2 of epoch 1, samples ([abc]/\d/0(, )?){4}\."):
        train(make_engine(), tmp_path, source=Poisoned(), emit=seen.append)
    assert len([event for event in seen if isinstance(event, TrainingStep)]) == 1
    assert not (tmp_path / "checkpoint").exists()


class ThreadRanks:
    """Ranks that are threads of this process: sums in the order of ranks."""

    def __init__(self, size):
        self.size = size
        self.parts = [None] * size
        self.meeting = threading.Barrier(size, timeout=60)

    def exchange(self, rank, value):
        self.parts[rank] = value
        self.meeting.wait()
        parts = list(self.parts)
        self.meeting.wait()
        return parts


class ThreadCommunicator:
    def __init__(self, ranks, rank):
        self.ranks, self.rank, self.size = ranks, rank, ranks.size

    def allreduce(self, flat):
        return sum(self.ranks.exchange(self.rank, flat)[1:], start=self.ranks.parts[0])

    def broadcast(self, array):
        return self.ranks.exchange(self.rank, array)[0]

    def barrier(self):
        self.ranks.exchange(self.rank, None)


def run_ranks(folder, stops):
    """Train on as many threads as there are `stops`, each rank's should_stop; return engines and errors."""
    size = len(stops)
    ranks = ThreadRanks(size)
    engines = [make_engine(replace(SMALL, dropout=0.3), communicator=ThreadCommunicator(ranks, r)) for r in range(size)]
    errors = [None] * size

    def work(rank):
        try:
            train(engines[rank], folder, validation=SAMPLES[:4], should_stop=stops[rank])
        except StopRequested as error:
            errors[rank] = error

    threads = [threading.Thread(target=work, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=120)
    return engines, errors


def test_ranks_stay_equal_and_agree_with_one_process(tmp_path):
    single = make_engine(replace(SMALL, dropout=0.3))
    before = weights_of(single)
    train(single, tmp_path / "single", validation=SAMPLES[:4])
    alone = weights_of(single)
    (first, second), _ = run_ranks(tmp_path / "two", [never, never])
    assert everything_of(first) == everything_of(second)
    moved = sum(np.sum((a - b) ** 2) for a, b in zip(alone, before, strict=True))
    apart = sum(np.sum((a - b) ** 2) for a, b in zip(alone, weights_of(first), strict=True))
    assert np.sqrt(apart / moved) < 1e-3


def test_when_one_rank_is_asked_to_stop_all_stop_at_the_same_step(tmp_path):
    undisturbed = everything_of(run_ranks(tmp_path / "other", [never, never])[0][0])
    engines, errors = run_ranks(tmp_path, [never, stop_after(1)])
    assert all("after step 2 of 6" in str(error) for error in errors)
    assert everything_of(engines[0]) == everything_of(engines[1])
    resumed, errors = run_ranks(tmp_path, [never, never])
    assert errors == [None, None]
    assert everything_of(resumed[0]) == undisturbed


def test_a_batch_that_the_ranks_cannot_share_is_refused(tmp_path):
    engine = make_engine(communicator=ThreadCommunicator(ThreadRanks(3), 0))
    with pytest.raises(ConfigError, match="use 3 or 6"):
        train(engine, tmp_path)


def test_only_the_coefficients_of_the_region_count():
    engine = make_engine()
    batch = RandomCubes().training_batch(SAMPLES[:2], 0)
    shape = batch.x.shape[1:4]
    everything, nothing = (np.full((2, *shape[:2], shape[2] // 2 + 1), value) for value in (True, False))
    plain = engine.gradients(batch).numpy()
    np.testing.assert_allclose(engine.gradients(batch._replace(region=everything)).numpy(), plain, rtol=1e-3, atol=1e-3)
    assert not engine.gradients(batch._replace(region=nothing)).numpy()[:-3].any()
    half = np.random.default_rng(0).random(everything.shape) < 0.5
    half |= np.roll(np.flip(half, (1, 2)), 1, (1, 2))  # Hermitian on the planes that are their own mirror images
    other = ~half
    parts = sum(engine.gradients(batch._replace(region=region)).numpy()[-3] for region in (half, other))
    np.testing.assert_allclose(parts, plain[-3], rtol=1e-4)
