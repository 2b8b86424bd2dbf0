"""The status of a cell: one of a closed list, computed by fixed rules from values, errors and margins.

| status | when |
|---|---|
| replicated | equivalence is shown: the 90 % interval of the difference lies within the margin |
| within error | at most two combined errors, but the interval is too wide for the margin |
| differs slightly | more than two combined errors, yet the difference itself is within the margin |
| differs: better, differs: worse, differs | more than two combined errors and outside the margin |
| partial budget | the recipe was cut short, or one seed has no error on either side: never a verdict |
| protocol differs | another number is measured than the published one, or which one is open and matters |
| published value unverified | the value was recalled, not read (grade M): never a verdict |
| failed | half of the seeds or more diverged or failed |
| not run | with what it needs: device-hours, a file, a model, a recipe |

Equivalence is looked at first: a cell whose interval lies within the margin is replicated, even where |z| is
above two. *Replicated*, not *reproduced* (ACM's words of 2020): another team with its own code. A verdict
about data that were drawn anew begins with *redrawn data*; a known difference in training makes *replicated
with deviations*.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from zoo.comparison.collect import Run
from zoo.record import Metric
from zoo.reproduction.closed_form import Fingerprint
from zoo.reproduction.runs import RecipeRuns
from zoo.reproduction.schema import Cell, Column, Deviation, Reading, Table
from zoo.reproduction.statistics import Difference, Spread, difference, mean_and_deviation

Status = Literal[
    "replicated",
    "within error",
    "differs slightly",
    "differs: better",
    "differs: worse",
    "differs",
    "partial budget",
    "protocol differs",
    "published value unverified",
    "failed",
    "not run",
]
AGREEING = ("replicated", "within error")
VERDICTS = (*AGREEING, "differs slightly", "differs: better", "differs: worse", "differs")


@dataclass(frozen=True)
class Ours:
    """What our runs give for a cell, in the paper's unit.

    Attributes:
        value: the mean over seeds.
        seeds: value of each seed that finished.
        failed: how each other seed ended.
        refit: standard deviation over the seeds; 0 for a fit in closed form, None for a single seed.
        test: standard error over the test points, of the median seed.
        n: number of test points or samples.
        kind: kind of the value.
        runs: the runs; none for a fit in closed form.
    """

    value: float | None
    seeds: Mapping[int, float] = field(default_factory=dict)
    failed: Mapping[int, str] = field(default_factory=dict)
    refit: float | None = None
    test: float | None = None
    n: int = 0
    kind: str = ""
    runs: Sequence[Run] = ()


@dataclass(frozen=True)
class Result:
    """A cell with ours beside the published value.

    Attributes:
        cell: the published value.
        column: its column.
        ours: our value; None if there is none.
        difference: ours minus published; None without a verdict.
        status: by the rules above.
        label: the status with what belongs to it: deviations, redrawn data, failed seeds.
        reason: why there is no verdict, or what the verdict rests on; may be empty.
        refit_from: whose spread over refits stands for the side that has none.
        partial: whether ``ours`` comes from runs that were cut short.
        deviations: the known differences.
        readings: the result by each other reading of what the column measures.
    """

    cell: Cell
    column: Column
    ours: Ours | None
    difference: Difference | None
    status: Status
    label: str
    reason: str = ""
    refit_from: str = ""
    partial: bool = False
    deviations: Sequence[Deviation] = ()
    readings: Sequence[tuple[Reading, Result]] = ()


def judge(
    table: Table,
    cells: Sequence[Cell],
    by_recipe: Mapping[str, RecipeRuns],
    fingerprints: Mapping[str, Fingerprint],
    costs: Mapping[str, str] | None = None,
) -> list[Result]:
    """Return the results of some cells.

    Args:
        table: the table.
        cells: those of its cells.
        by_recipe: the runs of each recipe.
        fingerprints: fits in closed form that have been computed.
        costs: what a run of each recipe costs, in words, for cells that are not run.
    """
    ours = {cell.name: _ours(table, cell, by_recipe, fingerprints) for cell in cells}
    results = []
    for cell in cells:
        value, partial = ours[cell.name]
        spread, row = None, ""
        if value is not None and value.refit is None and value.value is not None:
            spread, row = _borrow(table, cell, ours)
        result = _result(table, cell, value, partial, by_recipe, costs or {}, spread, row)
        if result.status in VERDICTS and value is not None and value.runs:
            others = [
                (reading, _result(table, cell, again, partial, by_recipe, costs or {}, spread, row))
                for reading in result.column.readings
                for again in [_collect(result.column, by_recipe[cell.recipe or ""].full, reading)]
            ]
            result = _settled(replace(result, readings=others))
        results.append(result)
    return results


def _settled(result: Result) -> Result:
    """Return a result with the verdict that it has by all readings of what is measured, or without one.

    If it is replicated by some readings and within the error by others, the verdict is the weaker one, within
    error.
    """
    by_reading = [result, *(other for _, other in result.readings)]
    statuses = {each.status for each in by_reading}
    if len(statuses) == 1:
        return result
    if statuses == set(AGREEING):
        weaker = next(each for each in by_reading if each.status == "within error")
        reason = "replicated by some readings of what is measured, within the error by the others"
        return replace(result, status=weaker.status, label=weaker.label, reason=reason)
    status: Status = "protocol differs"
    reason = f"the paper leaves open what it measures; by zoo's own reading it would be: {result.label}"
    return replace(result, difference=None, status=status, label=status, reason=reason, refit_from="")


def _ours(
    table: Table, cell: Cell, by_recipe: Mapping[str, RecipeRuns], fingerprints: Mapping[str, Fingerprint]
) -> tuple[Ours | None, bool]:
    """Return our value of a cell and whether it comes from runs that were cut short."""
    column = table.columns[cell.column]
    if cell.closed_form is not None:
        fingerprint = fingerprints.get(cell.closed_form)
        if fingerprint is None:
            return None, False
        value = -fingerprint.value if column.factor < 0 else fingerprint.value
        return Ours(value, {}, {}, 0.0, fingerprint.standard_error, fingerprint.n, "exact"), False
    runs = by_recipe.get(cell.recipe or "", RecipeRuns())
    partial = not runs.full
    chosen = runs.partial if partial else runs.full
    if not chosen:
        return None, False
    return _collect(column, chosen), partial


def _collect(column: Column, runs: Mapping[int, Run], reading: Reading | None = None) -> Ours:
    """Return our value from the runs of a recipe, by another reading of the metric if one is given."""
    metrics: dict[int, Metric] = {}
    failed: dict[int, str] = {}
    for seed, run in sorted(runs.items()):
        metric = run.record.metrics.get(column.metric)
        if run.record.status != "finished":
            failed[seed] = run.record.status
        elif metric is None or metric.value is None or not math.isfinite(metric.value):
            failed[seed] = f"no {column.metric}"
        elif reading is not None and "energy" not in metric.details:
            failed[seed] = "no energy of paths"
        else:
            metrics[seed] = metric
    values = {seed: column.factor * _value(metric, reading) for seed, metric in metrics.items()}
    if not values:
        return Ours(None, {}, failed, runs=list(runs.values()))
    mean, deviation = mean_and_deviation([*values.values()])
    errors = [m.standard_error for m in metrics.values() if m.standard_error is not None]
    test = sorted(errors)[len(errors) // 2] * abs(column.factor) if errors else None
    first = next(iter(metrics.values()))
    return Ours(mean, values, failed, deviation, test, first.n, first.kind, list(runs.values()))


def _value(metric: Metric, reading: Reading | None) -> float:
    """Return a metric's value; by a reading, its energy relative to the reading's number."""
    if reading is None:
        return float(metric.value or 0)
    return abs(float(metric.details["energy"]) - reading.divide_by) / reading.divide_by


def _borrow(
    table: Table, cell: Cell, ours: Mapping[str, tuple[Ours | None, bool]]
) -> tuple[Spread | None, str]:
    """Return the largest spread over refits of the same column, for a cell with one seed."""
    lenders = [
        (value.refit, len(value.seeds), other.row)
        for other in table.cells
        if other.column == cell.column
        and other.name in ours
        and (value := ours[other.name][0]) is not None
        and value.refit
        and not ours[other.name][1]
    ]
    if not lenders:
        return None, ""
    refit, runs, row = max(lenders)
    return Spread(1, refit, runs - 1), row


def _published(cell: Cell) -> Spread:
    """Return the error of a published value, as far as it is known."""
    error, runs = cell.usable_error, cell.error_runs
    over_runs = cell.error_kind.endswith("over runs")
    if error is None or cell.error_kind == "unknown":
        return Spread(runs, over_runs=over_runs)
    if cell.error_kind == "standard error over test points":
        return Spread(runs, test=error)
    if cell.error_kind == "two standard errors over test points":
        return Spread(runs, test=error / 2)
    deviation = error * math.sqrt(runs) if cell.error_kind == "standard error over runs" else error
    return Spread(runs, deviation, runs - 1, over_runs=True) if runs > 1 else Spread(runs)


def _result(
    table: Table,
    cell: Cell,
    ours: Ours | None,
    partial: bool,
    by_recipe: Mapping[str, RecipeRuns],
    costs: Mapping[str, str],
    borrowed: Spread | None,
    row: str,
) -> Result:
    column = table.columns[cell.column]
    recipe = table.recipes.get(cell.recipe or "")
    deviations = [*(recipe.deviations if recipe else ()), *cell.deviations]

    def result(status: Status, label: str = "", reason: str = "", gap: Difference | None = None) -> Result:
        source = gap.borrowed if gap else ""
        if gap and row and source == "ours":
            source = f"ours, row {row}"
        return Result(
            cell, column, ours, gap, status, label or status, reason, source, partial, deviations
        )  # fmt: skip

    if ours is None:
        needs = _needs(table, cell, by_recipe, costs)
        return result("not run", f"not run: needs {needs}", needs)
    seeds = len(ours.seeds) + len(ours.failed)
    if ours.value is None or 2 * len(ours.failed) >= seeds > 0:
        how = ", ".join(f"seed {seed} {how}" for seed, how in ours.failed.items())
        return result("failed", f"failed: {len(ours.failed)} of {seeds} seeds", how)
    if partial:
        return result("partial budget", reason="the recipe was cut short")
    for deviation in deviations:
        if deviation.touches == "evaluation":
            return result("protocol differs", reason=deviation.what)
    if column.kind is not None and ours.kind and ours.kind != column.kind:
        return result("protocol differs", reason=f"published: {column.kind}; ours: {ours.kind}")
    if cell.grade == "M" or cell.value is None:
        return result("published value unverified", reason="the value was recalled, not read")
    refit = ours.refit if ours.refit is not None else (borrowed.refit if borrowed else None)
    exact = ours.refit == 0.0 and not ours.runs  # a fit in closed form has no spread over refits
    freedom = math.inf if exact else (borrowed.refit_freedom if borrowed else max(len(ours.seeds) - 1, 1))
    spread = Spread(max(len(ours.seeds), 1), refit, freedom, ours.test)
    gap = difference(cell.value, _published(cell), ours.value, spread)
    if gap is None:
        return result("partial budget", "partial budget: more seeds are needed", "neither side has an error")
    status = _verdict(gap, column)
    label: str = status
    if status == "differs slightly" and column.better != "neither":
        label += ", better" if (gap.value > 0) == (column.better == "higher") else ", worse"
    if status == "replicated" and any(deviation.touches == "training" for deviation in deviations):
        label = "replicated with deviations"
    if any(deviation.touches == "data" for deviation in deviations):
        label = f"redrawn data: {label}"
    if ours.failed:
        label += f" ({len(ours.failed)} of {seeds} seeds failed)"
    return result(status, label, _basis(gap, ours), gap)


def _verdict(gap: Difference, column: Column) -> Status:
    """Return the verdict on a difference."""
    margin = column.margin
    low, high = gap.interval
    if gap.refit_known and -margin < low and high < margin:
        return "replicated"
    if abs(gap.z) <= 2:
        return "within error"
    if abs(gap.value) <= margin:
        return "differs slightly"
    if column.better == "neither":
        return "differs"
    return "differs: better" if (gap.value > 0) == (column.better == "higher") else "differs: worse"


def _basis(gap: Difference, ours: Ours) -> str:
    """Return in words what a verdict rests on, where it is not the usual."""
    notes = []
    if not gap.refit_known:
        notes.append("one seed and no spread over refits: by test points alone")
    elif gap.borrowed == "published" and len(ours.seeds) == 1:
        notes.append("one seed; the published spread over refits stands for ours")
    return "; ".join(notes)


def _needs(table: Table, cell: Cell, by_recipe: Mapping[str, RecipeRuns], costs: Mapping[str, str]) -> str:
    """Return what a cell that is not run needs."""
    if cell.needs:
        return cell.needs
    if cell.closed_form is not None:
        name = table.closed_forms[cell.closed_form].data.get("data")
        return "--check-data" + (f" and the files of data={name}" if name in table.files else "")
    if cell.recipe is None:
        return "a recipe"
    runs = by_recipe.get(cell.recipe)
    if runs is not None and runs.missing:
        return f"the recipe: {runs.missing}"
    return costs.get(cell.recipe, "to be run")
