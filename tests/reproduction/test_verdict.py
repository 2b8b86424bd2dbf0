"""Tests of the statuses: each of the closed list, and the rules that keep a verdict away."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.stats import t as student
from tables import COLUMN, made, run, table

from zoo.reproduction import load, names
from zoo.reproduction.closed_form import Fingerprint
from zoo.reproduction.reproduce import Report
from zoo.reproduction.runs import RecipeRuns
from zoo.reproduction.texts import foot, outliers
from zoo.reproduction.verdict import VERDICTS, judge

TRAINING = {"what": "a fixed budget", "touches": "training"}
ERROR = {"error": 0.2, "error_kind": "deviation over runs", "error_runs": 10}


def only(table, runs, fingerprints=None, costs=None):
    (result,) = judge(table, table.cells, runs, fingerprints or {}, costs)
    return result


@pytest.mark.parametrize(
    ("values", "status"),
    [
        ((3.0, 3.1, 2.9), "replicated"),  # of NLL: the published log-likelihood is -3
        ((3.0, 8.0, 0.0), "within error"),  # the interval is wider than the margin
        ((1.0, 1.1, 0.9), "differs: better"),
        ((5.0, 5.1, 4.9), "differs: worse"),
        ((3.99, 4.0, 3.91), "differs slightly"),
    ],
)
def test_a_status_follows_from_values_error_and_margin(values, status):
    result = only(table(ERROR), made(*values))
    assert result.status == status
    assert result.label == ("differs slightly, worse" if status == "differs slightly" else status)


def test_an_interval_within_the_margin_is_replicated_whatever_its_z():
    result = only(table(ERROR | {"error": 0.01}), made(3.3, 3.301, 3.299))
    assert abs(result.difference.z) > 2
    assert result.status == "replicated"


def test_a_quantity_without_a_better_direction_just_differs():
    column = COLUMN | {"better": "neither"}
    assert only(table(ERROR, columns={"LL": column}), made(5.0, 5.1, 4.9)).status == "differs"


def test_a_recalled_value_never_gets_a_verdict_or_a_difference():
    result = only(table({"grade": "M", "source": "mem"} | ERROR), made(3.0, 3.1, 2.9))
    assert (result.status, result.difference) == ("published value unverified", None)
    assert result.ours.value == pytest.approx(-3.0)


def test_no_shipped_cell_of_grade_m_gets_a_verdict_even_from_perfect_runs():
    recalled = read = 0
    for name in names():
        table_file = load(name)
        runs = {}
        for cell in table_file.cells:
            if cell.recipe is not None and cell.value is not None:
                column = table_file.columns[cell.column]
                value = cell.value / column.factor
                one = [
                    run(value * (1 + 1e-3 * i), i, kind=column.kind or "exact", metric=column.metric)
                    for i in (0, 1)
                ]
                runs[cell.recipe] = RecipeRuns(dict(enumerate(one)))
        for result in judge(table_file, table_file.cells, runs, {}):
            if result.cell.grade == "M":
                recalled += 1
                assert result.status not in VERDICTS, result.cell.name
                assert result.difference is None
            elif result.status in VERDICTS:
                read += 1
    assert recalled > 50
    assert read > 50


def test_a_recalled_error_counts_as_not_published():
    read = only(table(ERROR), made(3.0, 3.1, 2.9))
    recalled = only(table(ERROR | {"error_grade": "M"}), made(3.0, 3.1, 2.9))
    assert recalled.difference.error != read.difference.error
    assert recalled.refit_from == "ours"


@pytest.mark.parametrize("grade", ["A", "M"])
def test_a_paper_that_states_a_spread_over_runs_is_compared_by_runs_alone(grade):
    """Both means are over the same test points: other points would move both, and not their difference."""
    certain, noisy = (
        only(table(ERROR | {"error_grade": grade}), made(3.0, 3.1, 2.9, error=error)).difference
        for error in (1e-9, 5.0)
    )
    assert noisy == certain
    unstated = only(table({"error_runs": 10}), made(3.0, 3.1, 2.9, error=5.0)).difference
    assert unstated.error == pytest.approx(math.hypot(5.0, 5.0), rel=0.01)


def test_a_recalled_spread_is_replaced_by_ours_on_both_sides():
    difference = only(table(ERROR | {"error_grade": "M"}), made(3.0, 3.1, 2.9)).difference
    low, high = difference.interval
    plain = 0.1 * math.sqrt(1 / 3 + 1 / ERROR["error_runs"])
    assert (high - low) / 2 == pytest.approx(plain * student.ppf(0.95, 2))


@pytest.mark.parametrize("value", [3.0, 30.0])
def test_a_value_without_an_error_on_either_side_gets_no_verdict(value):
    result = only(table(), made(value, error=None))
    assert (result.status, result.difference) == ("partial budget", None)
    assert result.label == "partial budget: more seeds are needed"


@pytest.mark.parametrize(
    ("kind", "runs", "test"),
    [("standard error over test points", 1, 0.4), ("two standard errors over test points", 1, 0.2)],
)
def test_a_published_error_over_test_points_is_one_or_two_standard_errors(kind, runs, test):
    cell = {"error": 0.4, "error_kind": kind, "error_runs": runs}
    result = only(table(cell), made(3.0, 3.0, 3.0, error=0.3))
    assert result.difference.error == pytest.approx(math.hypot(test, 0.3))


@pytest.mark.parametrize(
    ("kind", "deviation"), [("deviation over runs", 0.4), ("standard error over runs", 0.4 * math.sqrt(10))]
)
def test_a_published_error_over_runs_is_a_deviation_or_a_standard_error(kind, deviation):
    cell = {"error": 0.4, "error_kind": kind, "error_runs": 10}
    result = only(table(cell), made(3.0))  # one seed: the published spread stands for ours
    expected = deviation * math.sqrt(1 + 1 / 10)
    few = only(table(cell | {"error_runs": 1_000_000}), made(3.0))
    assert result.difference.error > expected  # widened: ten runs know their deviation badly
    assert result.difference.error == pytest.approx(expected, rel=0.2)
    assert few.refit_from == "published"


def test_one_seed_without_any_spread_over_refits_is_never_replicated():
    cell = {"error": 0.1, "error_kind": "two standard errors over test points"}
    result = only(table(cell), made(3.0))
    assert result.status == "within error"
    assert "one seed" in result.reason
    assert only(table(cell), made(4.5)).status == "differs: worse"


def test_one_seed_borrows_the_largest_spread_of_its_column():
    cells = [
        {"row": row, "column": "LL", "value": -3.0, "source": "note", "grade": "C", "recipe": recipe}
        for row, recipe in (("A", "a"), ("B", "b"), ("C", "c"))
    ]
    recipes = {key: {"overrides": {"model": "maf"}} for key in "abc"}
    outcome = table(cells=cells, recipes=recipes)
    runs = {"a": made(3.0, 3.1)["flow"], "b": made(3.0, 3.3)["flow"], "c": made(3.0)["flow"]}
    results = {result.cell.row: result for result in judge(outcome, outcome.cells, runs, {})}
    assert results["C"].refit_from == "ours, row B"
    assert results["C"].difference.refit_known


def test_runs_that_were_cut_short_show_their_value_and_get_no_verdict():
    result = only(table(ERROR), made(3.0, 3.1, 2.9, partial=True))
    assert (result.status, result.difference, result.ours.value) == (
        "partial budget",
        None,
        pytest.approx(-3.0),
    )


def test_diverged_seeds_stay_in_the_cell_and_half_of_them_make_it_fail():
    result = only(table(ERROR), made(3.0, 3.1, None))
    assert result.label == "replicated (1 of 3 seeds failed)"
    assert dict(result.ours.failed) == {2: "diverged"}
    failed = only(table(ERROR), made(3.0, None))
    assert (failed.status, failed.label) == ("failed", "failed: 1 of 2 seeds")
    assert only(table(ERROR), made(None, None)).status == "failed"


def test_deviations_of_training_data_and_evaluation_show_in_the_status():
    values = made(3.0, 3.1, 2.9)
    assert only(table(ERROR | {"deviations": [TRAINING]}), values).label == "replicated with deviations"
    data = {"what": "drawn anew", "touches": "data"}
    assert only(table(ERROR | {"deviations": [data]}), values).label == "redrawn data: replicated"
    other = {"what": "another metric", "touches": "evaluation"}
    result = only(table(ERROR | {"deviations": [other]}), values)
    assert (result.status, result.difference, result.reason) == ("protocol differs", None, "another metric")


def paths(*energies):
    """Return runs whose metric is the energy of paths relative to 10, one for each energy."""
    runs = made(*(abs(energy - 10) / 10 for energy in energies))
    for one, energy in zip(runs["flow"].full.values(), energies, strict=True):
        one.record.metrics["nll"].details["energy"] = energy
    return runs


@pytest.mark.parametrize(
    ("divide_by", "status", "value"),
    [(10.2, "replicated", 0.196), (5.0, "protocol differs", 1.44)],  # 12.2 / 5 - 1
)
def test_a_verdict_that_depends_on_an_open_reading_is_none(divide_by, status, value):
    column = {
        "metric": "nll", "margin": 0.1, "margin_from": "a choice",
        "readings": [{"what": "another number", "divide_by": divide_by}],
    }  # fmt: skip
    cell = {"value": 0.2, "error": 0.02, "error_kind": "deviation over runs", "error_runs": 5}
    outcome = table(cell, columns={"LL": column})
    runs = paths(12.1, 12.2, 12.3)
    result = only(outcome, runs)
    assert result.status == status
    assert (result.difference is None) == (status == "protocol differs")
    assert result.ours.value == pytest.approx(0.22)
    ((_, other),) = result.readings
    assert other.ours.value == pytest.approx(value, abs=1e-3)
    lines = "\n".join(foot(Report(outcome, [result])).lines())
    assert f"Flow/LL: by another number ({divide_by:g}): {value:.3f}"[:-2] in lines
    assert ("leaves open what it measures" in lines) == (status == "protocol differs")


@pytest.mark.parametrize(
    ("published", "own", "by_reading"),
    [(0.2, "replicated", "within error"), (0.15, "within error", "replicated")],
)
def test_readings_that_all_agree_with_the_paper_leave_the_weaker_verdict(published, own, by_reading):
    """Ours is 0.22, relative to 10, and 0.15, relative to 10.6."""
    column = {"metric": "nll", "margin": 0.13, "margin_from": "a choice"}
    cell = {"value": published, "error": 0.02, "error_kind": "deviation over runs", "error_runs": 5}
    runs = paths(11.6, 12.2, 12.8)
    assert only(table(cell, columns={"LL": column}), runs).status == own
    column["readings"] = [{"what": "another number", "divide_by": 10.6}]
    result = only(table(cell, columns={"LL": column}), runs)
    ((_, other),) = result.readings
    assert other.status == by_reading
    assert (result.status, result.label) == ("within error", "within error")
    assert result.difference is not None
    assert result.reason == "replicated by some readings of what is measured, within the error by the others"


def test_the_foot_names_each_suspect_of_a_column_with_a_value_of_ours():
    suspect = {
        "what": "the steps",
        "finding": "ruled out",
        "by": "1000 steps change nothing",
        "columns": ["LL"],
    }
    outcome = table(ERROR, suspects=[suspect])
    sentence = "Suspect for LL: the steps: ruled out, 1000 steps change nothing."
    for runs, there in ((made(3.0, 3.1), True), ({}, False)):
        lines = foot(Report(outcome, judge(outcome, outcome.cells, runs, {}))).lines()
        assert (sentence in lines) == there


def test_the_foot_counts_the_seeds_that_are_missing():
    """The recipe has three seeds; a run that diverged counts as one of the runs that were made."""
    outcome = table(ERROR)
    for values, said in (((3.0, 3.1), True), ((3.0, 3.1, 2.9), False), ((3.0, 3.1, None), False)):
        lines = foot(Report(outcome, judge(outcome, outcome.cells, made(*values), {}))).lines()
        assert ("Flow/LL: seeds that have been run: 2 of 3." in lines) == said


def test_a_bound_is_never_compared_with_an_exact_value():
    result = only(table(ERROR), made(3.0, 3.1, 2.9, kind="lower bound"))
    assert (result.status, result.difference) == ("protocol differs", None)
    assert result.reason == "published: exact; ours: lower bound"


def test_a_fit_in_closed_form_has_no_spread_over_refits():
    forms = {"g": {"data": {"data": "moons"}, "fit": "gaussian", "value": 3.0, "tolerance": 0.1}}
    cell = {
        "recipe": None,
        "closed_form": "g",
        "error": 0.02,
        "error_kind": "two standard errors over test points",
    }
    outcome = table(cell, closed_forms=forms)
    result = only(outcome, {}, {"g": Fingerprint(3.001, 0.01, 1000, 3.0, True)})
    assert result.status == "replicated"
    assert result.difference.error == pytest.approx(math.hypot(0.01, 0.01))
    assert only(outcome, {}).label == "not run: needs --check-data"


def test_a_cell_that_is_not_run_says_what_it_needs():
    assert only(table(), {}, costs={"flow": "3 hours of a core"}).label == "not run: needs 3 hours of a core"
    missing = {"flow": RecipeRuns(missing="experiment no_such_one")}
    assert only(table(), missing).label == "not run: needs the recipe: experiment no_such_one"
    needs = table({"recipe": None, "needs": "the model NADE"})
    assert only(needs, {}).label == "not run: needs the model NADE"


def test_the_foot_names_exploding_test_points_and_selection_on_test_data(tmp_path):
    values = np.concatenate([np.random.default_rng(0).normal(-3, 1, 998), [-500.0, -900.0]])
    np.savez(tmp_path / "likelihood.npz", values=values, indices=np.arange(1000))
    runs = made(3.0, 3.1)
    for one in runs["flow"].full.values():
        one.directory = tmp_path
    result = table(ERROR | {"selected_on_test": True, "note": "with flips"})
    lines = "\n".join(foot(Report(result, judge(result, result.cells, runs, {}))).lines())
    assert "2 of 1000 test points lie more than 10 robust deviations from the median" in lines
    assert "Flow/LL: the paper chose on the test set, zoo on validation." in lines
    assert "Flow/LL: with flips." in lines
    assert lines.count("robust deviations") == 2  # once a run
    other = table(ERROR, columns={"LL": COLUMN | {"metric": "wasserstein2"}})
    for one in runs["flow"].full.values():
        one.record.metrics["wasserstein2"] = one.record.metrics["nll"]
    lines = foot(Report(other, judge(other, other.cells, runs, {}))).lines()
    assert "robust deviations" not in "\n".join(lines)  # a distance of samples has no log-likelihoods
    np.savez(tmp_path / "likelihood.npz", values=values[:998], indices=np.arange(998))
    assert outliers(runs["flow"].full[0]) == ""


def test_a_sentence_about_several_cells_stands_once_after_their_names():
    common = {"value": -3.0, "source": "note", "grade": "C", "recipe": "flow"}
    cells = [
        common | {"row": row, "column": column, "note": note}
        for row, column, note in [
            ("A", "LL", "with flips"),
            ("A", "bound", "with flips"),
            ("B", "LL", "with flips"),
            ("B", "bound", "by eye"),
            ("C", "LL", "with flips"),
        ]
    ] + [{"row": "C", "column": "bound", "value": -3.0, "source": "note", "grade": "C", "needs": "a file"}]
    outcome = table(cells=cells, columns={"LL": COLUMN, "bound": COLUMN})
    lines = foot(Report(outcome, judge(outcome, outcome.cells, made(3.0, 3.1), {}))).lines()
    assert "A, B/LL, C/LL: with flips." in lines
    assert "B/bound: by eye." in lines
    assert len([line for line in lines if "with flips" in line]) == 1
