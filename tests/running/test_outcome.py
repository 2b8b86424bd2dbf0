"""The end of a run: the record, exception and files of each kind of end."""

from __future__ import annotations

import errno
import threading
import time

import pytest

from zoo.errors import CutOff, Diverged, Interrupted, Unsound, ZooError
from zoo.record import Record, read, write_atomic
from zoo.running.outcome import RANK_ERROR, recorded


@pytest.fixture
def record():
    return Record("id", "maf", "flow", "moons", 0, status="failed")


def end_with(error: BaseException, record: Record, directory) -> None:
    with recorded(record, directory, []):
        raise error


def test_a_run_without_an_error_is_finished(record, tmp_path):
    with recorded(record, tmp_path, []):
        record.cost.updates = 3
        time.sleep(0.01)
    kept = read(tmp_path)
    assert (kept.status, kept.reason, kept.cost.updates) == ("finished", None, 3)
    assert kept.cost.total_seconds is not None
    assert kept.cost.total_seconds >= 0.01
    assert kept.provenance.finished_at is not None
    assert kept.provenance.finished_at.endswith("+00:00")


@pytest.mark.parametrize("error", [Diverged("The loss is nan."), Unsound("The solver is lost.")])
def test_a_run_with_a_value_that_is_not_finite_has_diverged(error, record, tmp_path):
    with pytest.raises(type(error)):
        end_with(error, record, tmp_path)
    kept = read(tmp_path)
    assert (kept.status, kept.reason) == ("diverged", str(error))
    assert not (tmp_path / "error.log").exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [(ZooError("There is no data."), "There is no data."), (KeyError("x"), "KeyError: 'x'")],
)
def test_a_run_with_an_error_has_failed_and_its_traceback_is_in_a_file(error, reason, record, tmp_path):
    record.cost.updates = 1
    with pytest.raises(type(error)):
        end_with(error, record, tmp_path)
    kept = read(tmp_path)
    assert (kept.status, kept.reason) == ("failed", reason)
    assert "Traceback" in (tmp_path / "error.log").read_text()


@pytest.mark.parametrize("updates", [None, 0])
def test_a_run_that_is_refused_before_its_first_update_leaves_nothing(updates, record, tmp_path):
    record.cost.updates = updates
    with pytest.raises(ZooError, match="no data"):
        end_with(ZooError("There is no data."), record, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "error",
    [MemoryError(), OSError(errno.ENOSPC, "No space left on device"), Interrupted("Ended by a signal."),
     RuntimeError("[enforce fail] can't allocate memory")],
)  # fmt: skip
def test_a_run_that_its_environment_ends_is_cut_off_and_leaves_no_record(error, record, tmp_path):
    with pytest.raises(CutOff):
        end_with(error, record, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interrupted_run_leaves_no_record(error, record, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        end_with(error, record, tmp_path)
    assert not list(tmp_path.iterdir())


def test_another_rank_leaves_its_error_and_no_record(record, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(ValueError, match="odd"):
        end_with(ValueError("odd"), record, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [RANK_ERROR]
    assert (tmp_path / RANK_ERROR).read_text() == "ValueError: odd"


def test_the_first_rank_records_the_error_of_the_rank_that_it_lost(record, tmp_path):
    def leave_a_word() -> None:
        time.sleep(0.3)
        write_atomic(tmp_path / RANK_ERROR, "ValueError: odd")

    threading.Thread(target=leave_a_word).start()
    with pytest.raises(ZooError, match="ValueError: odd"):
        end_with(RuntimeError("Connection closed by peer"), record, tmp_path)
    assert read(tmp_path).status == "failed"
    assert read(tmp_path).reason == "ValueError: odd"


def test_a_rank_lost_without_an_error_file_cuts_the_run_off(record, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.running.outcome.PATIENCE", 0.2)
    with pytest.raises(CutOff, match="process"):
        end_with(RuntimeError("Connection closed by peer"), record, tmp_path)
    assert not list(tmp_path.iterdir())
