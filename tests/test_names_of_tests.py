"""Names of the files of tests: pytest imports them by name alone, so each name may exist once."""

from collections import Counter
from pathlib import Path


def test_no_two_files_of_tests_share_a_name():
    files = Counter(file.name for file in Path(__file__).parent.rglob("test_*.py"))
    assert len(files) > 100
    assert [name for name, count in files.items() if count > 1] == []
