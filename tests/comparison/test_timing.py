"""Which times of a study may be compared."""

from __future__ import annotations

from simulated_runs import simulate

from zoo.comparison.configurations import Group
from zoo.comparison.timing import timing, usual_timing


def group(model: str, *sessions: str | None) -> Group:
    """Return a configuration whose seeds were timed by sessions of ``zoo time``; None: by themselves."""
    runs = simulate(model, "flow", seeds=len(sessions))
    for run, session in zip(runs, sessions, strict=True):
        run.record.sampling.session = session
    return Group(model, runs)


def session_of(*groups: Group) -> str | None:
    """Return the session whose times count among these groups; None: those that runs measured themselves."""
    usual = usual_timing(groups)
    return next(
        run.record.sampling.session for group in groups for run in group.finished if timing(run) == usual
    )


def test_a_session_that_timed_both_of_a_pair_counts_alone():
    assert session_of(group("maf", "s", "s", None, None, None), group("realnvp", "s", None, None)) == "s"


def test_a_session_that_timed_one_of_a_pair_leaves_the_times_that_both_have():
    assert session_of(group("maf", "s", "s", None), group("realnvp", None, None, None)) is None


def test_a_session_of_few_configurations_does_not_set_the_times_of_a_study_aside():
    many = [group(f"model{index}", None) for index in range(3)]
    assert session_of(group("ffjord", *"s" * 9), *many) is None
    assert session_of(group("ffjord", "s"), group("maf", "s"), group("glow", "s"), many[0]) == "s"


def test_the_session_with_most_runs_counts_among_those_that_timed_most_configurations():
    assert session_of(group("maf", "old", "new", "new"), group("realnvp", "old", "new")) == "new"
