"""The list of mutations still fits the code and the tests."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import mutations
import pytest

MUTATIONS = mutations.read()
ROOT = Path(__file__).resolve().parents[1]
# Name, file and killer of each row of the committed report.
ROWS = re.findall(
    r"^\| ([a-z0-9-]+) \|.*? \| `(\S+\.\w+)` \|.* \| (\*\*SURVIVED\*\*|`+[^`]+`+) \|$",
    (ROOT / "results/mutations.md").read_text(encoding="utf-8"),
    re.M,
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_every_mutation_changes_one_place_and_names_tests_that_exist(mutation):
    mutation.check(ROOT)


def test_the_names_of_mutations_are_unique():
    lines = mutations.LIST.read_text(encoding="utf-8").splitlines()
    names = Counter(line for line in lines if re.fullmatch(r"[a-z0-9-]+:", line))
    assert len(names) == len(MUTATIONS), "YAML would keep the last of two entries with one name"
    assert max(names.values()) == 1


def test_a_mutation_that_no_longer_fits_is_refused_by_name():
    mutation = mutations.Mutation("gone", "", "zoo/x.py", "a = 1", "a = 2", ())
    assert mutation.apply("b = 0\na = 1\n") == "b = 0\na = 2\n"
    with pytest.raises(ValueError, match=r"gone: 'a = 1' occurs 2 times in zoo/x.py, not once"):
        mutation.apply("a = 1\na = 1\n")


@pytest.mark.parametrize("test", ["tests/test_gone.py", "tests/test_mutations.py::test_gone"])
def test_a_mutation_whose_test_is_gone_is_refused_by_name(test):
    mutation = replace(MUTATIONS[0], tests=(test,))
    with pytest.raises(ValueError, match=f"{mutation.name}: there is no test {test}"):
        mutation.check(ROOT)


def test_the_report_has_the_mutations_of_the_list_and_all_are_killed():
    assert [name for name, _, _ in ROWS] == [mutation.name for mutation in MUTATIONS], "run make mutations"
    assert all(killer != "**SURVIVED**" for _, _, killer in ROWS)


@pytest.mark.parametrize(("name", "killer"), [(name, killer) for name, _, killer in ROWS])
def test_the_test_that_the_report_names_exists(name, killer):
    file, _, test = killer.strip("`").partition("::")
    function = test.rpartition("::")[2].partition("[")[0]
    source = (ROOT / "tests" / file).read_text(encoding="utf-8")
    assert re.search(rf"def {function}\(", source), "run make mutations"
