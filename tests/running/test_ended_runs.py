"""Which runs need no more work."""

from __future__ import annotations

import pytest

from zoo.record import RECORD, Record
from zoo.running.run import ended


def leave(directory, status):
    record = Record("maf-moons-s0-0", "maf", "flow", "moons", 0, status=status)
    record.write(directory)


@pytest.mark.parametrize("status", ["finished", "diverged"])
@pytest.mark.parametrize("retry_failed", [True, False])
def test_a_run_that_finished_or_diverged_is_not_made_again(status, retry_failed, tmp_path):
    leave(tmp_path, status)
    assert ended(tmp_path, retry_failed).status == status


def test_a_failed_run_is_made_again_unless_another_process_has_just_tried(tmp_path):
    leave(tmp_path, "failed")
    assert ended(tmp_path) is None
    assert ended(tmp_path, retry_failed=False).status == "failed"


def test_a_run_without_a_record_or_with_a_damaged_one_is_made_again(tmp_path):
    assert ended(tmp_path) is None
    (tmp_path / RECORD).write_text("{")
    assert ended(tmp_path) is None
