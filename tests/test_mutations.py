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
