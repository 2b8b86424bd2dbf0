"""The attempts at a run: their history, and when a run that is cut off again and again counts as failed."""

from __future__ import annotations

import json
import os

import pytest

from zoo.errors import CutOff, Interrupted, ZooError
from zoo.record import (
    ATTEMPTS,
    CHECKPOINTS,
    LAST,
    PROGRESS,
    RANK_ERROR,
    RECORD,
    Attempts,
    RankError,
    Record,
    clear,
    read,
)
from zoo.record.attempts import CUT_OFF, INTERRUPTED, KILLED, LIMIT
from zoo.running.outcome import GivenUp, recorded


def checkpoint(directory, nanoseconds):
    file = directory / CHECKPOINTS / LAST
    file.parent.mkdir(exist_ok=True)
    file.touch()
    os.utime(file, ns=(nanoseconds, nanoseconds))


def attempt(directory, error, updates=5):
    """Make one attempt at a run that ends by an error; return the error that its command would show."""
    record = Record("id", "maf", "flow", "moons", 0, status="failed")
    attempts = Attempts(directory)
    attempts.begin()
    with pytest.raises(BaseException) as caught, recorded(record, directory, [], attempts) as ending:  # noqa: PT012
        record.cost.updates, ending.trained = updates, updates > 0
        raise error
    return caught.value


def test_three_cut_offs_without_a_new_checkpoint_are_a_failure_with_their_history(tmp_path):
    for _ in range(LIMIT - 1):
        assert type(attempt(tmp_path, MemoryError())) is CutOff
    error = attempt(tmp_path, MemoryError(), updates=7)
    assert type(error) is GivenUp
    record = read(tmp_path)
    assert (record.status, record.reason) == ("failed", str(error))
    assert "cut off 3 times without a new checkpoint" in record.reason
    assert record.reason.count("at update 5: The memory ran out") == 2
    assert f"on {os.uname().nodename} at update 7: The memory ran out" in record.reason
    assert [entry["end"] for entry in json.loads((tmp_path / ATTEMPTS).read_text())] == [CUT_OFF] * 2 + [
        "failed"
    ]
    assert type(attempt(tmp_path, MemoryError())) is CutOff, "a later command counts anew"


def test_a_new_checkpoint_makes_earlier_cut_offs_count_no_more(tmp_path):
    for number in range(2 * LIMIT):
        checkpoint(tmp_path, 10**9 * (1 + number // (LIMIT - 1)))
        assert type(attempt(tmp_path, MemoryError())) is CutOff
    assert type(attempt(tmp_path, MemoryError())) is GivenUp


@pytest.mark.parametrize("end", [KeyboardInterrupt(), Interrupted("Ended by a signal.")])
def test_interruptions_by_a_person_or_a_signal_are_no_failure(end, tmp_path):
    for _ in range(2 * LIMIT):
        assert type(attempt(tmp_path, end)) is type(end)
    assert {entry.end for entry in Attempts(tmp_path).attempts} == {INTERRUPTED}
    assert not (tmp_path / RECORD).exists()
    for _ in range(LIMIT - 1):
        attempt(tmp_path, MemoryError())
        attempt(tmp_path, end)
    assert type(attempt(tmp_path, MemoryError())) is GivenUp


def test_a_run_that_was_killed_three_times_is_not_begun_a_fourth_time(tmp_path):
    (tmp_path / PROGRESS).write_text('{"updates": 3}')
    for _ in range(LIMIT):
        Attempts(tmp_path).begin()  # and nothing is heard of it again
    error = attempt(tmp_path, AssertionError("it was begun"))
    assert type(error) is GivenUp
    assert str(error).count("at update 3: it was killed, or its machine was lost") == LIMIT
    assert read(tmp_path).status == "failed"
    assert [entry.end for entry in Attempts(tmp_path).attempts] == [KILLED] * LIMIT + ["failed"]


def test_the_error_of_another_rank_is_the_end_of_an_attempt_that_was_killed(tmp_path):
    for _ in range(LIMIT):
        Attempts(tmp_path).begin()
        RankError("failed", "ValueError: odd").leave(tmp_path)
    attempts = Attempts(tmp_path)
    attempts.begin()
    assert not (tmp_path / RANK_ERROR).exists(), "the new attempt has none"
    assert [(entry.end, entry.reason) for entry in attempts.attempts[:-1]] == [
        ("failed", "ValueError: odd")
    ] * LIMIT
    assert attempts.give_up() is None


def test_the_error_of_a_rank_of_a_refused_run_is_not_that_of_the_attempt_before(tmp_path):
    Attempts(tmp_path).begin()  # and nothing is heard of it again
    refused = Attempts(tmp_path)
    refused.begin()
    RankError("failed", "There is no data.").leave(tmp_path)
    refused.withdraw()
    Attempts(tmp_path).begin()
    assert [entry.end for entry in Attempts(tmp_path).attempts] == [KILLED, None]


def test_a_refused_run_leaves_no_attempt_and_one_made_anew_begins_a_new_history(tmp_path):
    attempt(tmp_path, ZooError("There is no data."), updates=0)
    assert not list(tmp_path.iterdir())
    attempt(tmp_path, MemoryError())
    before = (tmp_path / ATTEMPTS).read_bytes()
    attempt(tmp_path, ZooError("There is no data."), updates=0)
    assert (tmp_path / ATTEMPTS).read_bytes() == before
    Attempts(tmp_path).begin(anew=True)
    assert len(Attempts(tmp_path).attempts) == 1
    clear(tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{", "[1]", '[{"end": "killed"}]', "{}"])
def test_a_damaged_history_counts_as_none(content, tmp_path):
    (tmp_path / ATTEMPTS).write_text(content)
    assert Attempts(tmp_path).attempts == []
