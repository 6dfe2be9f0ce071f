"""Units are published whole or not at all, and skipped only when nothing that determines them has changed."""

import dataclasses
import os

import pytest

from mwr_hpc.errors import InputError, StageError
from mwr_hpc.pipeline import units
from mwr_hpc.pipeline.lock import RunLock
from mwr_hpc.pipeline.receipts import RECEIPT_NAME, ReceiptBook, checksum, fingerprint, read_receipt
from mwr_hpc.pipeline.units import Claim, Unit, finished, published, require_own_targets, run_unit


def write_file(inputs, parameters, output):
    output.write_text(parameters["text"])
    return {"length": len(parameters["text"])}


def write_folder(inputs, parameters, output):
    output.mkdir()
    for number in range(3):
        (output / f"{number}.txt").write_text(parameters["text"])
    return {}


def fail_half_way(inputs, parameters, output):
    output.write_text("half")
    raise InputError("bad.mrc: is bad")


@pytest.fixture
def claim(tmp_path):
    with RunLock(tmp_path / "lock.json") as lock:
        yield Claim(tmp_path / "lock.json", lock.token)


def file_unit(tmp_path, function=write_file, **changes):
    unit = Unit(
        stage="write",
        name="a",
        function=f"{__name__}:{function.__name__}",
        inputs={},
        input_keys={"input": "key of the input"},
        parameters={"text": "hello"},
        target=tmp_path / "out" / "a.txt",
        receipt=tmp_path / "receipts" / "write" / "a.json",
    )
    return dataclasses.replace(unit, **changes)


def folder_unit(tmp_path, **changes):
    return file_unit(tmp_path, write_folder, target=tmp_path / "out" / "a.zarr", receipt=None, **changes)


def nothing_partial(tmp_path):
    return not [path for path in tmp_path.rglob("*") if "partial" in path.name]


def test_file_is_published_with_a_receipt_that_describes_it(tmp_path, claim):
    unit = file_unit(tmp_path)
    receipt = run_unit(unit, claim, attempt=2)
    assert unit.target.read_text() == "hello"
    assert receipt == read_receipt(unit.receipt) == finished(unit, receipt)
    assert (receipt.files, receipt.bytes, receipt.attempt, receipt.figures) == (1, 5, 2, {"length": 5})
    assert receipt.checksum == checksum(unit.target)
    assert nothing_partial(tmp_path)


def test_folder_carries_its_receipt_inside(tmp_path, claim):
    unit = folder_unit(tmp_path)
    receipt = run_unit(unit, claim)
    assert read_receipt(unit.target / RECEIPT_NAME) == receipt == finished(unit)
    assert (receipt.files, receipt.bytes) == (3, 15)


def test_failure_leaves_nothing_and_keeps_what_was_published(tmp_path, claim):
    unit = file_unit(tmp_path)
    run_unit(unit, claim)
    with pytest.raises(InputError, match="is bad"):
        run_unit(dataclasses.replace(unit, function=f"{__name__}:fail_half_way"), claim)
    assert unit.target.read_text() == "hello"
    assert nothing_partial(tmp_path)


@pytest.mark.parametrize(
    "change",
    [
        {"parameters": {"text": "other"}},
        {"input_keys": {"input": "another key"}},
        {"stage": "rewrite"},
    ],
)
def test_whatever_determines_the_result_makes_another_key(tmp_path, claim, change):
    unit = folder_unit(tmp_path)
    run_unit(unit, claim)
    assert finished(unit)
    assert not finished(dataclasses.replace(unit, **change))


def test_what_only_makes_it_faster_does_not(tmp_path, claim):
    unit = folder_unit(tmp_path)
    run_unit(unit, claim)
    assert finished(dataclasses.replace(unit, execution={"batch_size": 99}))


def test_target_without_its_receipt_is_done_again(tmp_path, claim):
    unit = folder_unit(tmp_path)
    run_unit(unit, claim)
    (unit.target / RECEIPT_NAME).unlink()
    assert not finished(unit)
    run_unit(unit, claim)
    assert finished(unit)


def test_target_that_lost_a_file_or_some_bytes_is_done_again(tmp_path, claim):
    unit = folder_unit(tmp_path)
    run_unit(unit, claim)
    (unit.target / "1.txt").write_text("hell")
    assert not finished(unit)
    run_unit(unit, claim)
    (unit.target / "1.txt").unlink()
    assert not finished(unit)


def test_file_that_was_altered_in_place_is_done_again(tmp_path, claim):
    unit = file_unit(tmp_path)
    receipt = run_unit(unit, claim)
    unit.target.write_text("jello")
    assert published(unit, receipt) and not finished(unit, receipt)


def test_file_is_never_without_its_receipt_and_the_receipt_alone_proves_nothing(tmp_path, claim, monkeypatch):
    """A kill just before the file is published or just after it: what is there is known to be this program's."""
    unit, book = file_unit(tmp_path), ReceiptBook(tmp_path / "receipts")

    def killed(partial, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(units, "publish", killed)
        run_unit(unit, claim)
    assert not finished(unit, read_receipt(unit.receipt))
    unit.target.write_text("an older result")
    assert not finished(unit, read_receipt(unit.receipt))
    require_own_targets([unit], book)


@pytest.mark.parametrize("make", [file_unit, folder_unit])
def test_what_this_program_did_not_make_is_not_replaced(tmp_path, claim, make):
    unit, book = make(tmp_path), ReceiptBook(tmp_path / "receipts")
    require_own_targets([unit], book)
    for foreign in (lambda: unit.target.mkdir(parents=True), lambda: (unit.target.rmdir(), unit.target.write_text(""))):
        foreign()
        with pytest.raises(InputError, match=rf"{unit.target.name}: is there.*choose another --out"):
            require_own_targets([unit], book)
    unit.target.unlink()
    run_unit(unit, claim)
    require_own_targets([unit, dataclasses.replace(unit, parameters={"text": "of another key"})], book)
    with pytest.raises(InputError, match="is there"):
        require_own_targets([dataclasses.replace(unit, name="b")], book)


def test_receipt_without_its_target_proves_nothing(tmp_path, claim):
    unit = file_unit(tmp_path)
    receipt = run_unit(unit, claim)
    unit.target.unlink()
    assert not finished(unit, receipt)


def test_nothing_is_published_once_the_run_is_taken_over(tmp_path):
    with RunLock(tmp_path / "lock.json") as lock:
        claim = Claim(tmp_path / "lock.json", lock.token)
    with RunLock(tmp_path / "lock.json"), pytest.raises(StageError, match="taken this run over"):
        run_unit(file_unit(tmp_path), claim)
    assert not (tmp_path / "out" / "a.txt").exists()
    assert nothing_partial(tmp_path)


def test_fingerprint_changes_with_size_and_time(tmp_path):
    path = tmp_path / "a.mrc"
    path.write_bytes(b"1234")
    os.utime(path, ns=(0, 10**9))
    first = fingerprint(path)
    path.write_bytes(b"5678")
    os.utime(path, ns=(0, 10**9))
    assert fingerprint(path) == first
    os.utime(path, ns=(0, 2 * 10**9))
    assert fingerprint(path) != first
    path.write_bytes(b"12345")
    os.utime(path, ns=(0, 10**9))
    assert fingerprint(path) != first
    assert fingerprint(None) is None


def test_the_fingerprint_of_a_folder_is_that_of_the_volumes_in_it(tmp_path):
    (tmp_path / "noise.mrc").write_text("a")
    first = fingerprint(tmp_path)
    (tmp_path / "notes.txt").write_text("b")
    (tmp_path / "._noise.mrc").write_text("c")
    (tmp_path / "folder").mkdir()
    assert fingerprint(tmp_path) == first
    (tmp_path / "more.REC").write_text("d")
    assert fingerprint(tmp_path) != first


def test_book_finds_a_receipt_before_and_after_folding_and_forgets_on_request(tmp_path, claim):
    book = ReceiptBook(tmp_path / "receipts")
    unit = file_unit(tmp_path, receipt=book.path("write", "a"))
    receipt = run_unit(unit, claim)
    assert book.get("write", "a") == receipt
    book.fold("write", [receipt])
    assert not unit.receipt.exists()
    assert ReceiptBook(tmp_path / "receipts").get("write", "a") == receipt
    book.forget("write", ["a"])
    assert book.get("write", "a") is None
    assert ReceiptBook(tmp_path / "receipts").get("write", "a") is None


def test_damaged_receipt_counts_as_none(tmp_path, claim):
    unit = file_unit(tmp_path)
    run_unit(unit, claim)
    unit.receipt.write_text('{"key": ')
    assert read_receipt(unit.receipt) is None
