"""``make quick`` finds the tests of the files that have changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import quick

CHANGED = {
    "tests/data/test_order.py": ["tests/data/test_order.py"],
    "zoo/data/order.py": ["tests/data/test_order.py"],
    "conf/model/glow.yaml": ["tests/config"],
    "README.md": [],
}


@pytest.mark.parametrize("file", CHANGED)
def test_a_changed_file_is_covered_by_the_tests_that_mirror_it(file):
    assert [str(path) for path in quick.tests_of(Path(file))] == CHANGED[file]
