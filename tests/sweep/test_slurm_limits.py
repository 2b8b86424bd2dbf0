"""The time limit of a Slurm job."""

import pytest

from zoo.errors import ZooError
from zoo.sweep.slurm import check_time_limit


def test_a_limit_that_ends_before_the_signal_is_refused():
    with pytest.raises(ZooError, match=r"timeout_min=2 leaves no time before the signal"):
        check_time_limit(2, 120)


def test_a_limit_after_the_signal_is_taken():
    check_time_limit(3, 120)
