"""The parts of every table: cells, rows, numbered footnotes, captions and the printing of numbers."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group
from zoo.comparison.guards import collapsed_runs, share_text
from zoo.comparison.studies import Study
from zoo.record import STATUSES, Direction

KIND_MARKS = {"lower bound": "≤ ", "estimate": "≈ "}
FOOTNOTE = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹]+(?= )")  # the raised number with which a footnote begins
SCALAR, SAMPLE = "plain", "sample"  # kinds of cells that are not likelihoods, as the CSV file writes them
KIND_WORDS = {  # what the marks mean, in captions and legends; an exact value has none
    "exact†": "† exact for the dequantised density",
    "lower bound": "≤ bound: the true value is at most this",
    "estimate": "≈ estimate",
}
DAGGER = f"{KIND_WORDS['exact†']}: on average over its noise, an upper bound on the integers' value"
LETTERS = (
    "letters: configurations that share one cannot be told apart (likelihoods paired over test examples, "
    "else Welch over seeds; Holm at 5 %), one of each model taking part; the best has an a"
)
BETWEEN_MARKS = "·"  # "¹·²" are two footnotes, "¹²" is the twelfth
COLLAPSED = (
    "collapsed: a run's samples are too far from the data or of few kinds, or its likelihood is broken; a "
    "row with such a run is the best at nothing but a sound likelihood, so last in a sorted table"
)
BRIEF = 20  # updates; models that were trained for fewer are not ranked
HEADINGS = {
    "bits_per_dim": "bits/dim",
    "nll": "NLL (nats)",
    "kl": "KL (nats)",
    "energy_distance": "energy dist.",
    "sharpness/spectrum": "spectrum",
}
ARROWS = {"lower": " ↓", "higher": " ↑", "one": " →1", "none": ""}


@dataclass
class Cell:
    """One entry of a table.

    Attributes:
        text: the printed text.
        value: the number by which the column is sorted and ranked; None if there is none.
        kind: ranks are made among cells of one kind.
        best: whether none of its kind in the column is significantly better; False without a rival.
        sure: whether it is the best and every other ranked one of its kind is significantly worse. Counts are
            known without error, so that several may be the least for sure.
        note: how the number was computed, or why there is none.
        spread: what ± shows.
        error: its kind: ``sd``, standard deviation over seeds, or ``se``, standard error.
        seeds: number of values that were averaged.
        odd: whether its conditions of measurement differ from the rest of its column; it is then not ranked.
        marks: numbers of its footnotes, with :data:`BETWEEN_MARKS` between two.
        caption: a sentence below the table that explains the text.
        letters: groups of configurations that cannot be told apart; empty if it is not ranked.
        words: a sentence on its kind and the reason, or on how it was measured; empty if ``note`` says so.
    """

    text: str
    value: float | None = None
    kind: str = ""
    best: bool = False
    sure: bool = False
    note: str = ""
    spread: float | None = None
    seeds: int = 1
    odd: bool = False
    marks: str = ""
    caption: str = ""
    letters: str = ""
    error: Literal["", "sd", "se"] = ""
    words: str = ""

    @property
    def shown(self) -> str:
        """The text followed by the marks of its footnotes and the letters of its groups."""
        return self.text + self.marks + (f" {self.letters}" if self.letters else "")

    def refer(self, mark: str) -> None:
        """Add the number of a footnote, unless the cell has it."""
        if mark not in self.marks.split(BETWEEN_MARKS):
            self.marks += BETWEEN_MARKS * bool(self.marks) + mark


def empty() -> Cell:
    """Return a cell without a number."""
    return Cell("—")


def scalar(
    text: str, value: float, seeds: int = 1, *, note: str = "", spread: float | None = None, marks: str = ""
) -> Cell:
    """Return a cell with a number that is not a likelihood, and its deviation over several seeds.

    Its kind is that of all such numbers.
    """
    error: Literal["", "sd"] = "" if spread is None else "sd"
    return Cell(text, value, SCALAR, note=note, spread=spread, seeds=seeds, marks=marks, error=error)


class Footnotes(dict[str, int]):
    """Sentences below a table, each with its number.

    >>> notes = Footnotes()
    >>> notes.mark("first"), notes.mark("second"), notes.mark("first")
    ('¹', '²', '¹')
    """

    def mark(self, sentence: str) -> str:
        """Return the superscript number of ``sentence``; a new sentence gets the next number."""
        number = self.setdefault(" ".join(sentence.split()), len(self) + 1)
        return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))

    def lines(self) -> list[str]:
        """Return the footnotes as they are printed."""
        return [f"{self.mark(sentence)} {sentence}" for sentence in self]


@dataclass
class Row:
    """The cells of one configuration of a model, over all its seeds.

    Attributes:
        name, family: of the configuration.
        cells: one for each column.
        runs: of the configuration; none for the row of real data.
        collapsed: whether one of its runs has collapsed, so that it is the best at nothing, however fast; see
            :mod:`zoo.comparison.guards`.
        variant: name of the model for which another row stands; empty: the row stands for its own.
    """

    name: str
    family: str
    cells: list[Cell]
    runs: list[Run] = field(default_factory=list)
    collapsed: bool = False
    variant: str = ""


@dataclass
class Table:
    """A table of a comparison.

    Attributes:
        columns: the headings, without those of ``model`` and ``family``.
        directions: which direction is better, by column.
        notes: sentences below it: captions, then footnotes.
        beside: whether it only adds details to a main table; the terminal and the summary omit it.
        chosen: whether a reader chose its columns, so that Markdown, LaTeX and CSV have only these and the
            model.
    """

    title: str
    columns: list[str]
    directions: list[Direction]
    rows: list[Row]
    notes: list[str]
    beside: bool = False
    chosen: bool = False

    @property
    def headings(self) -> list[str]:
        """``model``, ``family`` and the columns, each with an arrow in the better direction."""
        arrows = [ARROWS[direction] for direction in self.directions]
        return ["model", "family", *(c + arrow for c, arrow in zip(self.columns, arrows, strict=True))]

    def keep(self, wanted: Callable[[Cell], bool]) -> Table:
        """Return the table without the columns in which no cell is wanted; the last, the status, stays."""
        last = len(self.columns) - 1
        places = [i for i in range(last) if any(wanted(row.cells[i]) for row in self.rows)] + [last]
        return replace(
            self,
            columns=[self.columns[i] for i in places],
            directions=[self.directions[i] for i in places],
            rows=[replace(row, cells=[row.cells[i] for i in places]) for row in self.rows],
        )


CellOf = Callable[[Group], Cell]  # the cell of a column in the row of a group


def rows(study: Study, groups: Sequence[Group], columns: Sequence[CellOf], footnotes: Footnotes) -> list[Row]:
    """Return a row for each group: the cell of each column, then how the group's runs ended."""
    found = []
    for group in groups:
        cells = [cell(group) for cell in columns]
        ended = status(group.runs, footnotes)
        sunk = len(collapsed_runs(study, group))
        if sunk:
            ended.text += f", {sunk} collapsed" if len(group.runs) > 1 else ", collapsed"
            ended.refer(footnotes.mark(COLLAPSED))
            if len(group.runs) > 1:
                ended.refer(footnotes.mark(f"collapsed: {share_text(sunk, len(group.finished))}"))
        baseline = study.baseline(group.model)
        variant = "" if baseline is None or baseline.runs == group.runs else group.model
        found.append(Row(study.name(group), group.family, [*cells, ended], group.runs, bool(sunk), variant))
    return found


def heading(metric: str) -> str:
    """Return a metric's name as the heading of a column."""
    return HEADINGS.get(metric, metric)


def say_how_many(cells: Sequence[Cell]) -> None:
    """Add [1] to the numbers of one seed where others of ``cells`` are means over several."""
    if any(cell.seeds > 1 for cell in cells):
        for cell in cells:
            if cell.value is not None and cell.seeds == 1 and not cell.text.endswith("(n=1)"):
                cell.text += " [1]"


def captions(cells: Sequence[Cell]) -> list[str]:
    """Return sentences that explain ±, letters and marks, as far as they occur in ``cells``."""
    seeds = {cell.seeds for cell in cells if cell.value is not None}
    several = "± sd: standard deviation over n seeds, [n] in brackets"
    if seeds <= {1}:
        lines = ["One seed each (n=1): ± se is the standard error of the evaluation; one seed has no rank"]
    elif 1 in seeds:
        lines = [f"{several}; ± se: of one seed [1], the standard error of the evaluation; it has no rank"]
    else:
        lines = [several]
    if any(cell.letters for cell in cells):
        lines.append(LETTERS)
    kinds = {cell.kind for cell in cells}
    if kinds & {"lower bound", "estimate"}:
        lines.append(
            f"{KIND_WORDS['lower bound']}; {KIND_WORDS['estimate']}; "
            "kinds are never ranked against each other"
        )
    return lines + ([DAGGER] if "exact†" in kinds else [])


def kept_notes(notes: Sequence[str], before: Sequence[Row], after: Sequence[Row]) -> list[str]:
    """Return the notes that speak of something in the cells of rows that were left of ``before``.

    Left out are captions of other cells, and footnotes that no mark refers to any more.
    """

    def said(rows: Sequence[Row]) -> set[str]:
        cells = [cell for row in rows for cell in row.cells]
        measured = [cell for cell in cells if cell.value is not None]
        return {*captions(measured), *(cell.caption for cell in cells if cell.caption)}

    marks = {mark for row in after for cell in row.cells for mark in cell.marks.split(BETWEEN_MARKS)}
    gone = said(before) - said(after)
    footnotes = {note: found.group() for note in notes if (found := FOOTNOTE.match(note))}
    return [note for note in notes if note not in gone and footnotes.get(note, "") in {"", *marks}]


def status(runs: Sequence[Run], footnotes: Footnotes) -> Cell:
    """Return how the runs of a row ended, with a footnote for each that did not finish."""
    ends = [run.record.status for run in runs]
    counts = {end: ends.count(end) for end in STATUSES}  # a Counter takes ten times as long
    single = len(runs) == 1
    cell = Cell(", ".join(s if single else f"{counts[s]} {s}" for s in STATUSES if counts[s]))
    for run in runs:
        if run.record.status != "finished":
            reason = run.record.reason or "no reason was recorded"
            cell.refer(footnotes.mark(f"{run.record.run_id} {run.record.status}: {reason}"))
    return cell


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of two or more values, with n - 1 in the denominator.

    It is computed in floating point: :func:`statistics.stdev` is exact and slow.
    """
    mean = statistics.fmean(values)
    return math.sqrt(math.fsum((value - mean) * (value - mean) for value in values) / (len(values) - 1))


def number(value: float, spread: float | None = None) -> str:
    """Return a number with as many digits as its spread allows, and never rounded to zero.

    Up to nine digits before the point it is written out.

    >>> number(1.23456, 0.012), number(0.00042), number(-17.73), number(1234567.0)
    ('1.235 ± 0.012', '0.00042', '-17.73', '1,230,000')
    """
    if not math.isfinite(value):
        return "not finite"
    if spread is not None and math.isfinite(spread) and spread > 0:
        digits = max(0, 1 - math.floor(math.log10(spread)))
        if digits <= 8 and abs(value) < 1e6:
            return f"{value:,.{digits}f} ± {spread:,.{digits}f}"
        return _written(f"{value:.4g} ± {spread:.1g}")
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size >= 5 or size < -6:
        return _written(f"{value:.3g}")
    digits = max(0, 3 - size) if size < 3 else 0
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _written(text: str) -> str:
    """Return a text with its numbers of up to nine digits written out.

    >>> _written("1.28e+05 ± 2e+03"), _written("1e+09, 1e-07")
    ('128,000 ± 2,000', '1e+09, 1e-07')
    """
    return re.sub(r"\b\d(?:\.\d+)?e\+0[1-8]\b", lambda found: f"{float(found[0]):,.0f}", text)
