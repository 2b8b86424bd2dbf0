"""The words of a reproduction: numbers with their errors, the rows of a table, its foot."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from zoo.comparison.collect import Run
from zoo.record import LIKELIHOOD
from zoo.reproduction.reproduce import Report
from zoo.reproduction.schema import Cell, Reading, Source, Suspect, Table
from zoo.reproduction.statistics import BY_CHANCE, overall
from zoo.reproduction.verdict import VERDICTS, Result

FAR = 10  # robust deviations beyond which a test point counts as far from the others
LIKELIHOODS = ("nll", "bits_per_dim")  # metrics that the log-likelihoods of test points give
ERRORS = {
    "standard error over test points": "s.e. over test points",
    "two standard errors over test points": "2 s.e. over test points",
    "deviation over runs": "std over {} runs",
    "standard error over runs": "s.e. over {} runs",
    "unknown": "meaning unknown",
}
FLOOR = "two real samples"  # name of the row with the floors
DEFINITIONS = (
    "Replicated means: another team, its own code (ACM's words); equivalence is shown, the 90 % interval "
    "of the difference lies within the margin, which was fixed before any run.",
    "z is the difference in combined errors, widened for few seeds, such that |z| > 2 happens by chance in "
    f"{BY_CHANCE:.2%} of all cells.",
    "Two spreads are kept apart: (t) over test points of one fit, (r) over refits (seeds).",
)


def digits(number: float, error: float | None = None) -> int:
    """Return the number of decimals to print: to two digits of the error, or to five digits in all."""
    reference = error if error else abs(number) * 1e-4
    if not reference or not math.isfinite(reference):
        return 2
    return min(4, max(0, 1 - math.floor(math.log10(reference))))


def counted(number: int, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "run"), counted(2, "run")
    ('1 run', '2 runs')
    """
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def number(value: float | None, error: float | None = None) -> str:
    """Return a number rounded to two digits of its error; a dash for None."""
    return "—" if value is None else f"{value:.{digits(value, error)}f}"


def published(cell: Cell) -> str:
    """Return the published value with its ±; what was recalled, not read, in parentheses.

    A recalled ± beside a value that was read is in parentheses alone.
    """
    if cell.value is None:
        return "—"
    error = "" if cell.error is None else f"±{cell.error:g}"
    if cell.error_grade == "M" and cell.grade != "M":
        error = f" ({error})" if error else ""
    text = f"{cell.value:g}{error}"
    return f"({text})" if cell.grade == "M" else text


def error_kind(cell: Cell) -> str:
    """Return what the published ± measures; empty without one."""
    if cell.error is None:
        return ""
    text = ERRORS[cell.error_kind].format(cell.error_runs)
    return f"{text}, recalled" if cell.error_grade == "M" else text


def ours(result: Result) -> str:
    """Return our value with both spreads: ``-1366.90 t0.72 r0.00 n3``."""
    summary = result.ours
    if summary is None or summary.value is None:
        return "—"
    parts = [number(summary.value, summary.test or summary.refit)]
    if summary.test:
        parts.append(f"t{summary.test:.2g}")
    if summary.refit is not None and summary.runs:
        parts.append(f"r{summary.refit:.2g}")
    if summary.runs:
        parts.append(f"n{len(summary.seeds)}")
    return " ".join(parts)


def z_text(result: Result) -> str:
    """Return the difference in combined errors; empty without a verdict."""
    return "" if result.difference is None else f"{result.difference.z:+.1f}"


@dataclass(frozen=True)
class Floor:
    """What a metric gives for two samples of the data themselves: no model is expected below it.

    Attributes:
        value: the mean over draws, and over the runs of the column.
        deviation: the largest standard deviation over the draws of a run.
    """

    value: float
    deviation: float


def floors(report: Report) -> dict[str, Floor]:
    """Return the floor of each column in whose runs it was measured, by the column."""
    found = {}
    for name, column in report.table.columns.items():
        details = [
            metric.details
            for result in report.results
            if result.cell.column == name and result.ours is not None
            for run in result.ours.runs
            if (metric := run.record.metrics.get(column.metric)) is not None
        ]
        measured = [one for one in details if one.get("floor") is not None and "floor_deviation" in one]
        if measured:
            values = [abs(column.factor) * float(one["floor"]) for one in measured]
            spread = max(abs(column.factor) * float(one["floor_deviation"]) for one in measured)
            found[name] = Floor(sum(values) / len(values), spread)
    return found


@dataclass(frozen=True)
class Foot:
    """What stands below a table.

    Attributes:
        counts: number of cells of each status.
        beyond: number of cells with |z| > 2.
        expected: number of them that chance alone gives.
        chi2: sum of squared normal scores, number of cells, probability; None without a cell.
        notes: sentences on single cells and on what was left out.
    """

    counts: dict[str, int]
    beyond: int
    expected: float
    chi2: tuple[float, int, float] | None
    notes: list[str]

    def lines(self) -> list[str]:
        """Return the foot as sentences."""
        total = sum(self.counts.values())
        verdicts = sum(n for status, n in self.counts.items() if status in VERDICTS)
        lines = [
            f"{counted(total, 'cell')}, {verdicts} with a verdict: "
            + ", ".join(f"{n} {status}" for status, n in self.counts.items())
            + "."
        ]
        if self.chi2 is not None:
            value, cells, probability = self.chi2
            lines.append(
                f"|z| > 2 in {self.beyond} of {cells} cells; chance alone gives {self.expected:.1f}. "
                f"χ² = {value:.1f} of {cells} cells, p = {probability:.2g} (cells of one run are dependent)."
            )
        return lines + self.notes


def foot(report: Report) -> Foot:
    """Return the foot of a report."""
    results, table = report.results, report.table
    differences = [result.difference for result in results if result.difference is not None]
    counts = Counter(result.status for result in results)
    notes = _of_cells(results, table) + _outlying(results)
    shown = {result.cell.column for result in results if result.ours is not None}
    notes += [suspect_text(suspect) for suspect in table.suspects if shown & set(suspect.columns)]
    notes += [f"{warning}." for warning in map(_bare, report.warnings)]
    return Foot(
        dict(counts.most_common()),
        sum(abs(one.z) > 2 for one in differences),
        BY_CHANCE * len(differences),
        overall(differences),
        list(dict.fromkeys(notes)),
    )


def suspect_text(suspect: Suspect) -> str:
    """Return a sentence: which differences a cause might explain, and what speaks for and against it."""
    where = ", ".join(suspect.columns)
    return f"Suspect for {where}: {_bare(suspect.what)}: {suspect.finding}, {_bare(suspect.by)}."


def _bare(sentence: str) -> str:
    return sentence.rstrip(".")


def _of_cells(results: Sequence[Result], table: Table) -> list[str]:
    """Return the sentences about single cells, each once, after the names of its cells.

    A row stands for all of its cells that have a value of ours or a recipe.
    """
    rows: dict[str, list[str]] = {}
    cells: dict[str, dict[str, list[str]]] = {}  # columns by row, by sentence
    for result in results:
        row, column = result.cell.row, result.cell.column
        if result.ours is not None or result.cell.recipe:
            rows.setdefault(row, []).append(column)
        for sentence in [*_of_seeds(result, table), *_notes(result)]:
            cells.setdefault(sentence, {}).setdefault(row, []).append(column)
    notes = []
    for sentence, found in cells.items():
        names = [
            row
            if columns == rows[row] and len(columns) > 1
            else ", ".join(f"{row}/{name}" for name in columns)
            for row, columns in found.items()
        ]
        notes.append(f"{', '.join(names)}: {sentence}")
    return notes


def _of_seeds(result: Result, table: Table) -> list[str]:
    """Return a sentence if a cell has fewer runs than its recipe has seeds."""
    if result.ours is None or result.cell.recipe is None:
        return []
    made = len(result.ours.seeds) + len(result.ours.failed)
    planned = len(table.recipes[result.cell.recipe].seeds)
    return [f"seeds that have been run: {made} of {planned}."] if made < planned else []


def _notes(result: Result) -> list[str]:
    """Return the sentences about one cell that a reader of its status needs."""
    cell, notes = result.cell, []
    deviations = [f"{_bare(deviation.what)}." for deviation in result.deviations]
    if result.ours is None:  # a cell that was not run: only how its recipe departs from the paper's
        return deviations if cell.recipe else []
    if result.reason and result.status != "published value unverified":
        notes.append(f"{result.reason}.")
    if result.refit_from and result.ours.runs:
        side = "the published" if result.refit_from.startswith("ours") else "our"
        source = "our own" if result.refit_from == "ours" else result.refit_from.replace("ours, ", "that of ")
        source = "the published one" if result.refit_from == "published" else source
        notes.append(f"{side} spread over refits is taken from {source}.")
    if cell.error is not None and cell.usable_error is None and cell.grade != "M":
        notes.append("the published error was recalled, not read, and counts as not published.")
    notes += deviations
    if cell.selected_on_test:
        notes.append("the paper chose on the test set, zoo on validation.")
    if cell.note:
        notes.append(f"{_bare(cell.note)}.")
    notes += [f"by {text}." for text in map(_reading, result.readings)]
    if result.difference is not None and abs(result.difference.z) > 2 and cell.witnesses:
        notes.append(witnessed(result))
    return notes


def _reading(pair: tuple[Reading, Result]) -> str:
    """Return a cell's value and verdict by another reading of what is measured."""
    reading, result = pair
    return f"{reading.what} ({reading.divide_by:g}): {ours(result)}, z {z_text(result)}, {result.label}"


def _outlying(results: Sequence[Result]) -> list[str]:
    """Return a sentence on each run behind a likelihood some of whose test points lie far from the others."""
    notes: dict[str, str] = {}
    for result in results:
        if result.column.metric not in LIKELIHOODS or result.ours is None:
            continue
        for run in result.ours.runs:
            sentence = "" if run.record.run_id in notes else outliers(run)
            if sentence:
                notes[run.record.run_id] = f"{result.cell.name}: {sentence}"
    return [*notes.values()]


def outliers(run: Run) -> str:
    """Return how many test points of a run lie far from the others, with the median; empty if none do.

    Far is more than :data:`FAR` robust deviations (1.4826 times the median distance) from the median.
    """
    arrays = run.arrays(LIKELIHOOD)
    if not arrays or not len(arrays.get("values", ())):
        return ""
    values = np.asarray(arrays["values"], dtype=np.float64)
    middle = float(np.median(values))
    robust = 1.4826 * float(np.median(np.abs(values - middle)))
    far = int((np.abs(values - middle) > FAR * robust).sum()) if robust else 0
    if not far:
        return ""
    lie = "lies" if far == 1 else "lie"
    return (
        f"{far} of {len(values)} test points {lie} more than {FAR} robust deviations from the median "
        f"log-likelihood of {middle:.6g} (seed {run.record.seed})."
    )


def source_text(source: Source) -> str:
    """Return a source with its grade and commit."""
    return f"[{source.grade}] {source.what}" + (f", commit {source.commit}" if source.commit else "")


def witnesses(cell: Cell) -> str:
    """Return what others obtained for a cell."""
    return "; ".join(
        f"{number(witness.value) if witness.value is not None else witness.text} ({witness.source})"
        for witness in cell.witnesses
    )


def witnessed(result: Result) -> str:
    """Return whether independent re-implementations lie nearer to ours or to the published value."""
    values = [witness.value for witness in result.cell.witnesses if witness.value is not None]
    text = f"others obtained {witnesses(result.cell)}"
    if not values or result.ours is None or result.ours.value is None or result.cell.value is None:
        return f"{text}."
    middle = sum(values) / len(values)
    nearer = abs(middle - result.ours.value) < abs(middle - result.cell.value)
    return f"{text}, nearer to {'ours' if nearer else 'the published value'}."


def statuses(results: Sequence[Result]) -> dict[str, int]:
    """Return the number of cells of each status, the most frequent first."""
    return dict(Counter(result.status for result in results).most_common())
