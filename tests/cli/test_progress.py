"""Tests of progress: what the events add up to, and what is told when."""

import io
import sys

import pytest

from mwr_hpc.cli.output import say_table
from mwr_hpc.cli.progress import BarObserver, LineObserver, Progress, duration
from mwr_hpc.events import (
    EpochFinished,
    IterationStarted,
    Notice,
    StageFinished,
    StageStarted,
    TrainingStep,
    UnitFailed,
    UnitFinished,
    UnitProgress,
)


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


def test_a_stage_counts_what_is_done_failed_and_under_way(clock):
    progress = Progress(clock)
    progress.update(StageStarted("convert", 8, 2))
    assert progress.stage_share == 0.25
    progress.update(UnitFinished("convert", "a", 1.0))
    progress.update(UnitProgress("convert", "b", 1, 2))
    assert progress.stage_share == pytest.approx(3.5 / 8)
    clock.seconds = 7.0
    told = progress.update(UnitFailed("convert", "b", "is constant"))
    assert told == "convert: b is left out: is constant"
    assert progress.stage_share == 0.5
    assert progress.line() == "convert 3 of 8, 1 failed (50%), about 14 s left"


def test_training_moves_the_whole_on(clock):
    progress = Progress(clock)
    progress.update(IterationStarted(2, 4))
    progress.update(StageStarted("train", 1))
    progress.update(TrainingStep(epoch=3, epochs=4, step=5, steps=10, loss=0.25))
    assert progress.stage_share == pytest.approx(2.5 / 4)
    assert progress.overall == pytest.approx((1 + 2.5 / 4) / 4)
    progress.update(EpochFinished(2, 4, 4, 0.125, 0.5, 10.0, 0.0, 1.0, 0.0))
    assert "iteration 2 of 4, train, epoch 3 of 4" in progress.line()
    assert "loss 0.125 (held out 0.5)" in progress.line()


def test_time_left_is_by_the_pace_since_this_start(clock):
    progress = Progress(clock)
    progress.update(IterationStarted(6, 10))  # half was done before, at no cost now
    assert progress.seconds_left() is None
    clock.seconds = 100.0
    progress.update(IterationStarted(7, 10))
    assert progress.seconds_left() == pytest.approx(400.0)
    assert "about 6 min 40 s left" in progress.line()
    progress.update(IterationStarted(10, 10))
    progress.update(TrainingStep(epoch=1, epochs=1, step=5, steps=5, loss=0.1))
    assert progress.seconds_left() is None


def steps(progress, clock, seconds, count, *, epochs=10, per_epoch=100):
    """Let so many steps of so many seconds end; return what was told at once."""
    told = []
    for step in range(1, count + 1):
        clock.seconds += seconds
        told.append(progress.update(TrainingStep(1, epochs, step, per_epoch, 0.5)))
    return [text for text in told if text]


def test_the_first_steps_tell_the_time_of_all_iterations(clock):
    progress = Progress(clock)
    progress.update(StageStarted("convert", 8))
    clock.seconds = 600.0  # which says nothing of the steps
    progress.update(IterationStarted(1, 30))
    progress.update(StageStarted("train", 1))
    clock.seconds += 20.0  # the network is traced
    told = steps(progress, clock, 2.0, 3)
    left = 2.0 * (30 * 1000 - 3)
    assert left <= progress.seconds_left() <= left + 30 * 25  # and what lies between iterations
    assert not told
    assert "about 16 h 5" in progress.line()


def test_a_slow_step_tells_the_time_while_it_lasts_and_more_than_a_day_is_warned_of_once(clock):
    progress = Progress(clock)
    progress.update(IterationStarted(1, 30))
    progress.update(StageStarted("train", 1))
    assert not steps(progress, clock, 100.0, 1)  # tracing may have taken that long
    assert progress.seconds_left() is None
    clock.seconds += 30.0
    assert progress.seconds_left() == pytest.approx(30.0 * (30 * 1000 - 1) + 29 * 100.0)
    assert "days" in progress.line()
    clock.seconds += 70.0
    told = progress.update(TrainingStep(1, 10, 2, 100, 0.5))
    assert told.startswith("Warning: at this pace the training takes about 34 days 18 h more")
    assert all(option in told for option in ("--hours", "--iterations", "--filter_base", "--steps_per_epoch"))
    assert not steps(progress, clock, 100.0, 5)


def test_the_time_between_trainings_counts_for_the_iterations_to_come(clock):
    progress = Progress(clock)
    progress.update(IterationStarted(1, 3))
    progress.update(StageStarted("train", 1))
    steps(progress, clock, 1.0, 10, epochs=1, per_epoch=10)
    clock.seconds += 50.0
    progress.update(StageStarted("predicted_01", 4))
    clock.seconds += 49.0
    progress.update(IterationStarted(2, 3))
    assert progress.seconds_left() == pytest.approx(20.0 + 1.0)
    progress.update(StageStarted("train", 1))
    steps(progress, clock, 1.0, 5, epochs=1, per_epoch=10)
    assert progress.seconds_left() == pytest.approx(15.0 + 99.0)


def test_the_time_left_stands_in_the_lines_of_a_run_without_a_terminal():
    stream = io.StringIO()
    with LineObserver(stream, interval=0.01) as observer:
        observer(IterationStarted(1, 2))
        observer(StageStarted("train", 1))
        for step in (1, 2, 3):
            observer(TrainingStep(1, 1, step, 10_000, 0.5))
        while " left" not in stream.getvalue():
            pass
    assert "about " in stream.getvalue()


def test_what_is_told_at_once(clock):
    progress = Progress(clock)
    assert progress.update(Notice("going on")) == "going on"
    assert progress.update(Notice("thin", warning=True)) == "Warning: thin"
    assert progress.update(StageFinished("convert", 2, 1, 0, 61.0)) == "convert: 2 done, 1 done before in 1 min 1 s"
    assert progress.update(StageFinished("convert", 0, 3, 0, 0.0)) is None  # nothing happened


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "0 s"), (59.6, "1 min 0 s"), (3725, "1 h 2 min"), (80.5 * 86400, "80 days 12 h")]
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_lines_come_by_themselves_and_end_with_the_work():
    stream = io.StringIO()
    with LineObserver(stream, interval=0.01) as observer:
        observer(StageStarted("extract", 4, 1))
        while "extract 1 of 4" not in stream.getvalue():
            pass
    written = stream.getvalue()
    assert not observer._thread.is_alive()
    assert written.splitlines()[0].endswith("extract 1 of 4 (25%)")


def test_bars_take_every_event(capsys):
    with BarObserver() as observer:
        for event in (
            IterationStarted(1, 2),
            StageStarted("train", 1),
            TrainingStep(1, 1, 1, 2, 0.5),
            Notice("careful [bold]"),
            StageFinished("train", 1, 0, 0, 3.0),
        ):
            observer(event)
    shown = capsys.readouterr().err
    assert "careful [bold]" in shown
    assert "loss 0.5" in shown


HOSTILE = "[red]x[/red] :smile: \x1b[2J\u202e"


@pytest.mark.parametrize("bars", [True, False])
def test_names_are_shown_as_they_are(capsys, bars):
    with BarObserver() if bars else LineObserver(sys.stderr) as observer:
        observer(StageStarted(HOSTILE, 2))
        observer(UnitFailed(HOSTILE, HOSTILE, HOSTILE))
        observer(Notice(f"{HOSTILE}\n12:00:00 forged"))
    out, err = capsys.readouterr()
    shown = r"[red]x[/red] :smile: \x1b[2J\u202e"
    assert shown in out + err and "\x1b[2J" not in out + err and "\u202e" not in out + err
    assert not [line for line in err.splitlines() if line.startswith("12:00:00")]


def test_tables_show_names_as_they_are(capsys):
    say_table(["[b]"], [[HOSTILE]], ["red"])
    assert r"[red]x[/red] :smile: \x1b[2J\u202e" in capsys.readouterr().out
