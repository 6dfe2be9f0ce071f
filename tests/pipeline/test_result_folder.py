"""A run's models are those that it has receipts of; its folder of results is its own."""

import dataclasses

import pytest

from mwr_hpc.errors import ConfigError, InputError
from mwr_hpc.pipeline.lock import RunLock
from mwr_hpc.pipeline.lost_receipts import require_own_models
from mwr_hpc.pipeline.receipts import Receipt, ReceiptBook, checksum, write_receipt
from mwr_hpc.pipeline.training_units import newest_trained, own_models
from mwr_hpc.run_directory import RunDirectory

RECEIPT = Receipt("key", "train", "01", {}, 1, 5, None, 1.0, 1.0, 1, "host", 1, {})


@pytest.fixture
def run(tmp_path):
    return RunDirectory(tmp_path / "run", tmp_path / "results")


def model(run, iteration, text):
    """A model with a receipt of the run."""
    path = run.model(iteration)
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    receipt = dataclasses.replace(RECEIPT, name=f"{iteration:02d}", checksum=checksum(path))
    write_receipt(ReceiptBook(run.receipts).path("train", receipt.name), receipt)
    return path


def test_only_models_with_a_receipt_of_the_run_count(run):
    model(run, 1, "first")
    book = ReceiptBook(run.receipts)
    require_own_models(run, book)
    run.model(2).write_text("other")
    assert list(own_models(run, book)) == [1]
    assert newest_trained(run, book) == 1
    with pytest.raises(InputError, match=r"model_iter02\.h5: a model that the run in .*run did not make.*--result_dir"):
        require_own_models(run, book)


def test_an_altered_model_of_the_same_size_does_not_count_as_trained(run):
    model(run, 1, "first")
    model(run, 2, "later").write_text("l_ter")
    assert newest_trained(run, ReceiptBook(run.receipts)) == 1


def test_results_outside_the_run_have_a_lock_of_their_own(run, tmp_path):
    assert RunDirectory(tmp_path / "run").results_lock is None
    assert RunDirectory(tmp_path / "run", tmp_path / "run" / "models").results_lock is None
    lock = RunLock(run.results_lock, option="--result_dir")
    other = RunDirectory(tmp_path / "other", run.results)
    again = RunLock(other.results_lock, option="--result_dir")
    with lock, pytest.raises(ConfigError, match="use another --result_dir"), again:
        pass
