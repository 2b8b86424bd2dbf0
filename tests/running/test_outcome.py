"""The end of a run: the record, exception and files of each kind of end."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time

import pytest

from zoo.errors import LOST, CutOff, Diverged, Interrupted, Unsound, ZooError
from zoo.record import PROGRESS, RANK_ERROR, Attempts, RankError, Record, read
from zoo.running.outcome import Ending, recorded


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
    with pytest.raises(type(error)), recorded(record, tmp_path, []) as ending:  # noqa: PT012
        ending.trained = True
        raise error
    kept = read(tmp_path)
    assert (kept.status, kept.reason) == ("failed", reason)
    assert "Traceback" in (tmp_path / "error.log").read_text()


@pytest.mark.parametrize("updates", [None, 0, 3])
def test_a_run_that_is_refused_before_its_first_update_leaves_nothing(updates, record, tmp_path):
    record.cost.updates = updates  # the updates of the checkpoint that the run resumes from
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


@pytest.mark.parametrize(
    ("error", "end", "reason"),
    [
        (ValueError("odd"), "failed", "ValueError: odd"),
        (Diverged("The loss is nan."), "diverged", "The loss is nan."),
        (Unsound("The latents hold NaN."), "diverged", "The latents hold NaN."),
        (MemoryError(), "cut off", "The memory ran out; give it more, or lower training.batch_size."),
        (ZooError("There is no data."), "refused", "There is no data."),
    ],
)
def test_the_first_rank_ends_as_the_rank_does_that_it_lost(error, end, reason, record, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("RANK", "1")
        with pytest.raises(type(error)):
            end_with(error, record, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == [RANK_ERROR]
    left = RankError.left_in(tmp_path)
    assert left == RankError(end, reason)

    def leave_a_word() -> None:
        time.sleep(0.3)
        left.leave(tmp_path)

    attempts = Attempts(tmp_path)
    attempts.begin()
    threading.Thread(target=leave_a_word).start()
    with pytest.raises(ZooError) as raised, recorded(record, tmp_path, [], attempts):
        raise RuntimeError("Connection closed by peer")
    assert str(raised.value) == reason
    assert isinstance(raised.value, Diverged) == (end == "diverged")
    assert isinstance(raised.value, CutOff) == (end == "cut off")
    if end in ("failed", "diverged"):
        assert (read(tmp_path).status, read(tmp_path).reason) == (end, reason)
    else:
        assert not (tmp_path / "record.json").exists()
    assert [(a.end, a.reason) for a in Attempts(tmp_path).attempts] == [(end, reason)] * (end != "refused")


def test_a_rank_that_has_lost_another_leaves_no_error(record, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(RuntimeError):
        end_with(RuntimeError("Connection closed by peer"), record, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_rank_lost_without_an_error_file_cuts_the_run_off(record, tmp_path, monkeypatch):
    monkeypatch.setattr("zoo.running.outcome.PATIENCE", 0.2)
    with pytest.raises(CutOff, match="process"):
        end_with(RuntimeError("Connection closed by peer"), record, tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def hanging(record, tmp_path):
    """Return the end of a run whose first rank waits for another one, as under NCCL."""
    (tmp_path / PROGRESS).write_text('{"updates": 3}')
    attempts = Attempts(tmp_path)
    attempts.begin()
    return Ending(record, tmp_path, [], attempts)


def last_attempt(directory):
    last = Attempts(directory).attempts[-1]
    return last.end, last.reason, last.updates


@pytest.mark.parametrize("end", ["failed", "diverged"])
def test_a_run_whose_first_rank_hangs_ends_by_the_error_of_the_other(end, hanging, tmp_path, capsys):
    RankError(end, "ValueError: odd").leave(tmp_path)
    assert hanging.after_a_lost_rank([2]) == 2
    kept = read(tmp_path)
    assert (kept.status, kept.reason, kept.cost.updates) == (end, "ValueError: odd", 3)
    assert last_attempt(tmp_path) == (end, "ValueError: odd", 3)
    assert capsys.readouterr().err == f"zoo: ValueError: odd. The record is in {tmp_path}.\n"


def test_a_run_whose_first_rank_hangs_is_cut_off_by_the_memory_of_the_other(hanging, tmp_path, capsys):
    RankError("cut off", "The memory ran out.").leave(tmp_path)
    assert hanging.after_a_lost_rank([75]) == 75
    assert last_attempt(tmp_path) == ("cut off", "The memory ran out.", 3)
    assert capsys.readouterr().err.startswith("zoo: The memory ran out. The same command goes on")
    assert not (tmp_path / "record.json").exists()


def test_a_run_whose_first_rank_hangs_is_refused_as_the_other_was(hanging, tmp_path, capsys):
    RankError("refused", "There is no data.").leave(tmp_path)
    assert hanging.after_a_lost_rank([2]) == 2
    assert capsys.readouterr().err == "zoo: There is no data.\n"
    assert [p.name for p in tmp_path.iterdir()] == [PROGRESS]


def test_a_run_whose_first_rank_hangs_is_cut_off_if_the_other_left_no_error(hanging, tmp_path, capsys):
    assert hanging.after_a_lost_rank([0, -9]) == 75
    assert last_attempt(tmp_path) == ("cut off", f"{LOST} (SIGKILL).", 3)
    assert capsys.readouterr().err.startswith(f"zoo: {LOST} (SIGKILL). The same command")
    assert not (tmp_path / "record.json").exists()


def test_a_run_whose_first_rank_hangs_each_time_has_failed_at_the_third(record, tmp_path):
    codes = []
    for _ in range(3):
        attempts = Attempts(tmp_path)
        attempts.begin()
        codes.append(Ending(record, tmp_path, [], attempts).after_a_lost_rank([75]))
    assert codes == [75, 75, 2]
    assert read(tmp_path).reason.count("lost (exit code 75)") == 3


@pytest.mark.parametrize("code", [130, 143, -signal.SIGINT, -signal.SIGTERM, -signal.SIGUSR2])
def test_a_run_whose_first_rank_hangs_is_interrupted_if_a_signal_has_ended_the_other(code, hanging, tmp_path):
    assert hanging.after_a_lost_rank([int(code)]) == 130
    assert last_attempt(tmp_path) == ("interrupted", "it was interrupted", 3)
    assert Attempts(tmp_path).in_vain() == []


def test_a_signal_is_noted_before_the_first_rank_can_act_on_it(record, tmp_path):
    attempts = Attempts(tmp_path)
    attempts.begin()
    handled = []
    before = signal.signal(signal.SIGTERM, lambda *_: handled.append(1))  # the run goes on, as in NCCL
    try:
        with recorded(record, tmp_path, [], attempts) as ending:
            child = os.fork()
            if child == 0:
                os.kill(os.getpid(), signal.SIGTERM)  # a signal to a child is none to the run
                os._exit(0)
            os.waitpid(child, 0)
            time.sleep(0.2)
            assert last_attempt(tmp_path)[0] is None
            os.kill(os.getpid(), signal.SIGTERM)
            deadline = time.monotonic() + 10
            while last_attempt(tmp_path)[0] is None and time.monotonic() < deadline:
                time.sleep(0.02)
            assert last_attempt(tmp_path)[:2] == ("interrupted", "a signal asked it to end")
            assert handled == [1]
            killed = Attempts(tmp_path)
            assert not killed.close(), "the end is known"
            assert killed.in_vain() == []
            assert ending.attempts is attempts
    finally:
        signal.signal(signal.SIGTERM, before)
    assert signal.set_wakeup_fd(-1) == -1, "the earlier one is back"
    assert last_attempt(tmp_path)[0] == "finished", "what the run says itself wins"


def test_a_signal_that_follows_from_another_ranks_error_hides_it_nowhere(hanging, record, tmp_path):
    """torchrun and srun end the first rank by a signal when another one has failed."""
    hanging.attempts.note_signal()
    RankError("failed", "ValueError: odd").leave(tmp_path)
    killed = Attempts(tmp_path)
    assert killed.rank_error() == RankError("failed", "ValueError: odd")
    with pytest.raises(ZooError, match="ValueError: odd"), recorded(record, tmp_path, [], killed):
        raise KeyboardInterrupt
    assert read(tmp_path).reason == "ValueError: odd"
    assert last_attempt(tmp_path)[:2] == ("failed", "ValueError: odd")


def test_only_one_thread_makes_the_end(record, tmp_path):
    with recorded(record, tmp_path, [], None) as ending:
        pass
    assert ending.after_a_lost_rank([1]) is None


STEP = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_RESTART_COUNT": "1"}


@pytest.mark.parametrize("error", [None, ZooError("There is no data.")])
def test_ranks_that_srun_has_started_end_with_the_first_before_they_meet_it(
    error, record, tmp_path, monkeypatch
):
    """The first rank gives the run up, or refuses it alone. srun would leave the other ranks waiting."""
    monkeypatch.setattr("zoo.running.srun.LOOK", 0.05)
    for name, value in STEP.items():
        monkeypatch.setenv(name, value)
    attempts = Attempts(tmp_path)
    for _ in range(4 if error is None else 1):  # three attempts that never end make the fourth give up
        attempts.begin()
    with pytest.raises(ZooError), recorded(record, tmp_path, [], attempts):
        raise error or AssertionError("it was begun")
    assert (tmp_path / "record.json").exists() == (error is None)

    def waits(restart):
        child = os.fork()
        if child == 0:
            os.environ.update(SLURM_PROCID="1", SLURM_RESTART_COUNT=restart)
            with recorded(record, tmp_path, []):
                time.sleep(0.5)
            os._exit(3)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert waits("1") == 0, "this rank belongs to the start whose first rank has ended"
    assert waits("2") == 3, "a later start ignores the file of an earlier one"
