"""A run that version 0.1.0 began goes on, and nothing that it finished is done again."""

from contextlib import nullcontext

import pytest

import run_of_0_1_0
from commanding import run
from mwr_hpc.cluster.pool import InlinePool
from mwr_hpc.pipeline import backend


@pytest.fixture
def runs(monkeypatch):
    monkeypatch.setattr(backend, "local_pool", lambda workers: nullcontext(InlinePool()))
    with run_of_0_1_0.unpacked() as place:
        yield place


def test_half_a_run_goes_on_and_redoes_no_finished_unit(runs):
    half = runs / "half"
    before, receipts = run_of_0_1_0.finished_work(half), run_of_0_1_0.receipts(half)
    logged = (half / "events.jsonl").stat().st_size
    ended = run(*run_of_0_1_0.command("half"))
    assert ended.code == 0, ended.err
    after = run_of_0_1_0.finished_work(half)
    assert {name: after.pop(name) for name in before} == before
    assert set(after) == {"results/model_iter02.h5"}
    assert {unit: run_of_0_1_0.receipts(half)[unit] for unit in receipts} == receipts
    stages = run_of_0_1_0.events(half, "StageFinished", logged)
    assert [(one["stage"], one["done"], one["skipped"]) for one in stages] == [
        *((stage, 0, 2) for stage in ("convert", "extract", "predicted_01", "pairs_02")),
        ("train", 1, 0),
    ]
    said = [event["text"] for event in run_of_0_1_0.events(half, "Notice", logged)]
    assert len([text for text in said if "have no checksums: they are used as they are" in text]) == 1


def test_a_finished_run_stays_as_it_is(runs):
    finished = runs / "finished"
    before, receipts = run_of_0_1_0.finished_work(finished), run_of_0_1_0.receipts(finished)
    logged = (finished / "events.jsonl").stat().st_size
    ended = run(*run_of_0_1_0.command("finished"))
    assert ended.code == 0, ended.err
    assert run_of_0_1_0.finished_work(finished) == before
    assert run_of_0_1_0.receipts(finished) == receipts
    assert not [one for one in run_of_0_1_0.events(finished, "StageFinished", logged) if one["done"]]
