"""The other ranks of a machine: how they are started, and what their end does to the first one."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from zoo.training import distributed
from zoo.training.distributed import watch

ENDED = [sys.executable, "-c", "raise SystemExit(3)"]
WAITS = [sys.executable, "-c", "import time; time.sleep(100)"]


def exit_code(lost):
    """Return the exit code of a process that watches a rank that has failed and one that waits."""
    child = os.fork()
    if child == 0:
        distributed.GRACE = distributed.LONGEST_WRITE = 0.1
        watch([subprocess.Popen(WAITS), subprocess.Popen(ENDED)], lost)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_a_rank_that_hangs_after_another_has_failed_ends_with_the_code_of_its_run():
    assert exit_code(lambda codes: 2 if codes == [3] else 1) == 2


@pytest.mark.parametrize("lost", [lambda codes: None, lambda codes: 1 / 0])
def test_a_rank_that_hangs_ends_even_if_its_run_has_no_code(lost):
    assert exit_code(lost) == 75
