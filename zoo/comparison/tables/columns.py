"""Columns of the main tables: each makes a cell from a quantity of a group of runs.

A column also defines the conditions under which its values are compared (:meth:`Column.conditions`). Values
under other conditions than most of the column's are marked, and not ranked.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from zoo.comparison.collect import Run
from zoo.comparison.configurations import NUMBER, Group
from zoo.comparison.groups import usual_timing_of
from zoo.comparison.metrics import kind_of, shared_error
from zoo.comparison.quantities import (
    IMAGES_SEEN,
    LATENCY,
    LIKELIHOODS,
    PARAMETERS,
    SEQUENTIAL_EVALUATIONS,
    THROUGHPUT,
    TRAIN_SECONDS,
    UPDATES,
    Quantity,
    metric_value,
)
from zoo.comparison.studies import Study
from zoo.comparison.tables.cells import (
    KIND_MARKS,
    SAMPLE,
    Cell,
    Footnotes,
    deviation,
    empty,
    heading,
    number,
    scalar,
)
from zoo.comparison.timing import timing, timing_conditions, training_conditions
from zoo.comparison.words import metric_text, timing_text
from zoo.record import Direction, Metric, Record

FEW_CALLS = 5  # a latency over fewer calls has a footnote
MAIN_METRICS = (*LIKELIHOODS, "fid", "energy_distance", "sharpness")  # and the Fréchet distances, fd/...
SHARED_LATENTS = (
    "metrics of samples over seeds, by a protocol before version 5: ± the standard error of the mean, "
    "sqrt(e² + s²/n), from the standard error e over the draw of samples, which the seeds share, and the "
    "standard deviation s over n seeds"
)
SESSION = "session"  # the condition that names a session of zoo time
METRIC_CONDITIONS = ("extractor", "weights_sha256", "reference_n")


@dataclass(frozen=True)
class Column:
    """A column of exact numbers, such as counts, without an error of measurement.

    Attributes:
        heading: the printed heading.
        quantity: the quantity that it shows.
        factor: from the quantity's unit to the column's.
    """

    heading: str
    quantity: Quantity
    factor: float = 1.0

    @property
    def direction(self) -> Direction:
        """The better direction."""
        return self.quantity.direction

    def conditions(self, run: Run) -> dict[str, Any]:
        """Return the conditions that must agree if the values of two runs are compared."""
        return {}

    def comparable(self, group: Group, usual: Mapping[str, Any]) -> list[Run]:
        """Return the runs of a group that a cell averages."""
        return group.finished

    def cell(self, runs: Sequence[Run], footnotes: Footnotes) -> Cell:
        """Return the mean over runs."""
        values = self.values(runs)
        if not values:
            return empty()
        value = statistics.fmean(values)
        return scalar(number(value), value)

    def values(self, runs: Sequence[Run]) -> list[float]:
        """Return the value of each run that has one, in the column's unit."""
        values = [self.quantity.of(run.record) for run in runs]
        return [value * self.factor for value in values if value is not None]

    def floor(self, runs: Sequence[Run]) -> tuple[float, float | None] | None:
        """Return the column's value for real data in place of samples; None if it has none."""
        return None


class CostColumn(Column):
    """A cost of training, as a whole number. Runs that did not finish are included."""

    def comparable(self, group: Group, usual: Mapping[str, Any]) -> list[Run]:
        """Return the finished runs, or all where none finished."""
        return group.finished or group.runs

    def cell(self, runs: Sequence[Run], footnotes: Footnotes) -> Cell:
        """Return the mean over runs as a whole number."""
        values = self.values(runs)
        if not values:
            return empty()
        value = statistics.fmean(values)
        return scalar(f"{value:,.0f}", value)


class TimedColumn(Column):
    """A duration or a speed. Only times of the same machine are averaged."""

    def conditions(self, run: Run) -> dict[str, Any]:
        """Return machine, number format and compilation."""
        return timing_conditions(run)

    def comparable(self, group: Group, usual: Mapping[str, Any]) -> list[Run]:
        """Return the finished runs under the column's usual conditions, or all where none was."""
        return [run for run in group.finished if self.conditions(run) == usual] or group.finished

    def facts(self, record: Record) -> dict[str, Any]:
        """Return how the number was measured."""
        sampling = record.sampling
        return {
            "throughput_batch": sampling.throughput_batch,
            "device": sampling.device,
            "threads": sampling.threads,
            "dtype": sampling.dtype,
            "compiled": sampling.compiled,
            "session": sampling.session,
            "peak_memory_bytes": sampling.peak_memory_bytes,
        }

    def cell(self, runs: Sequence[Run], footnotes: Footnotes) -> Cell:
        """Return the mean over runs with its deviation, or the value of a single run."""
        values = self.values(runs)
        if not values:
            return empty()
        value, several = statistics.fmean(values), len(values) > 1
        first = next(run.record for run in runs if self.quantity.of(run.record) is not None)
        facts = [f"{name}: {fact}" for name, fact in self.facts(first).items() if fact is not None]
        note = "; ".join([*facts, *(["the first seed's"] if several else [])])
        words = timing_text(self.facts(first)) + ("; the first seed's" if several else "")
        if not several:
            cell = self.single(scalar(number(value), value, note=note), first)
            return replace(cell, words=words)
        spread = deviation(values)
        text = f"{number(value, spread)} [{len(values)}]"
        return replace(scalar(text, value, len(values), note=note, spread=spread), words=words)

    def single(self, cell: Cell, record: Record) -> Cell:
        """Return the cell of a single run."""
        return cell


class LatencyColumn(TimedColumn):
    """The median latency over the calls of a run; a single run shows the quartiles too."""

    def facts(self, record: Record) -> dict[str, Any]:
        """Return how many calls were timed and how."""
        facts = super().facts(record)
        del facts["throughput_batch"]
        calls = {name: getattr(record.sampling, name) for name in ("latency_quartiles", "latency_repeats")}
        return calls | facts

    def single(self, cell: Cell, record: Record) -> Cell:
        """Return the cell with the quartiles of the run's calls."""
        quartiles, repeats = record.sampling.latency_quartiles, record.sampling.latency_repeats
        if quartiles is None:
            return cell
        cell.caption = "latency of one run: the median of its calls, their quartiles in parentheses"
        if repeats is not None:
            low, high = (number(quartile * self.factor) for quartile in quartiles)
            cell.text += f" ({low} to {high})" if repeats > 1 else " (n=1)"
        return cell


class TrainingTimeColumn(TimedColumn):
    """Seconds of training."""

    def conditions(self, run: Run) -> dict[str, Any]:
        """Return the machine and whether the loss was compiled; nothing where the machine is unknown."""
        return training_conditions(run)

    def comparable(self, group: Group, usual: Mapping[str, Any]) -> list[Run]:
        """Return the comparable runs that finished, or all runs where none did."""
        return super().comparable(group, usual) or group.runs

    def facts(self, record: Record) -> dict[str, Any]:
        """Return the conditions of training."""
        names = ("device_seconds", "peak_memory_bytes", "compiled")
        return {name: getattr(record.cost, name) for name in names}


class MetricColumn(Column):
    """A metric of the protocol, with its error.

    Attributes:
        caption: a sentence below a table that has a mean over seeds in this column.
    """

    caption: ClassVar[str] = ""

    def conditions(self, run: Run) -> dict[str, Any]:
        """Return the number of examples, the split, the feature extractor and the number of real examples."""
        metric = run.record.metrics.get(self.quantity.name)
        if metric is None or metric.value is None:
            return {}
        details = {name: metric.details[name] for name in METRIC_CONDITIONS if name in metric.details}
        return {"n": metric.n, "split": metric.split, **details}

    def cell(self, runs: Sequence[Run], footnotes: Footnotes) -> Cell:
        """Return the mean over runs with its deviation, or the value of one run with its standard error."""
        name = self.quantity.name
        metrics = [run.record.metrics[name] for run in runs if name in run.record.metrics]
        valued = [(metric.value, metric) for metric in metrics if metric.value is not None]
        if not valued:
            reason = next((metric.reason for metric in metrics if metric.reason), "")
            return Cell("—", note=reason, marks=footnotes.mark(reason) if reason else "")
        values = [value for value, _ in valued]
        first, several = valued[0][1], len(values) > 1
        mean = statistics.fmean(values)
        spread = self.spread([metric for _, metric in valued], values) if several else first.standard_error
        caption = self.caption if several else ""
        if several and (errors := [error for run in runs if (error := shared_error(run, name))]):
            shared = statistics.fmean(error * error for error in errors)
            spread, caption = math.sqrt(shared + deviation(values) ** 2 / len(values)), SHARED_LATENTS
        of_error: Literal["", "sd", "se"] = "se" if caption or not several else "sd"
        if spread is None:
            of_error = ""
        text = number(mean, spread) + (f" [{len(values)}]" if several else "")
        kind, remarks = SAMPLE, []
        if name in LIKELIHOODS:
            kinds = sorted({kind_of(metric) for _, metric in valued})
            kind = kinds[0] if len(kinds) == 1 else "mixed"
            text = KIND_MARKS.get(kind, "") + text + ("†" if kind == "exact†" else "")
            if kind == "mixed":
                remarks.append(f"the seeds' kinds differ ({', '.join(kinds)})")
        remarks += [remark for _, metric in valued if (remark := metric.details.get("remark"))]
        facts = {"kind": first.kind, "n": first.n, "split": first.split, **first.details}
        note = "; ".join(f"{k}: {v}" for k, v in facts.items() if not isinstance(v, dict | list))
        cell = Cell(
            text, mean, kind, note=note, spread=spread, seeds=len(values), caption=caption, error=of_error,
            words=metric_text(first),
        )  # fmt: skip
        for remark in remarks:
            cell.refer(footnotes.mark(remark))
        return cell

    def spread(self, metrics: Sequence[Metric], values: Sequence[float]) -> float | None:
        """Return what ± shows of two or more seeds: their standard deviation."""
        return deviation(values)

    def floor(self, runs: Sequence[Run]) -> tuple[float, float | None] | None:
        """Return the metric's value for real data in place of samples, and its deviation over draws of these.

        Both are means over the runs that were judged with the commonest number of samples.
        """
        metrics = [m for run in runs if (m := run.record.metrics.get(self.quantity.name)) is not None]
        known = [(m.n, m.details) for m in metrics if isinstance(m.details.get("floor"), NUMBER)]
        if not known:
            return None
        usual = Counter(n for n, _ in known).most_common(1)[0][0]
        details = [details for n, details in known if n == usual]
        deviations = [d["floor_deviation"] for d in details if isinstance(d.get("floor_deviation"), NUMBER)]
        value = statistics.fmean(d["floor"] for d in details)
        return value, statistics.fmean(deviations) if deviations else None


class DivergenceColumn(MetricColumn):
    """KL(data, model): seeds share their test examples, so the mean over seeds keeps the error of these."""

    caption: ClassVar[str] = (
        "KL over seeds: ± the standard error of the mean, sqrt(e² + s²/n), from the standard error e over "
        "the test examples, which all seeds share, and the standard deviation s over n seeds"
    )

    def spread(self, metrics: Sequence[Metric], values: Sequence[float]) -> float | None:
        """Return the standard error of the mean over seeds and test examples; None where one is not known."""
        errors = [metric.standard_error for metric in metrics if metric.standard_error is not None]
        if len(errors) < len(metrics):
            return None
        shared = statistics.fmean(error * error for error in errors)
        return math.sqrt(shared + deviation(values) ** 2 / len(values))


COSTS = (
    LatencyColumn("latency (ms)", LATENCY, 1e3),
    TimedColumn("samples/s", THROUGHPUT),
    Column("seq. evals", SEQUENTIAL_EVALUATIONS),
    CostColumn("params", PARAMETERS),
    CostColumn("updates", UPDATES),
    CostColumn("images seen", IMAGES_SEEN),
    TrainingTimeColumn("train (s)", TRAIN_SECONDS),
)


def metric_columns(runs: Sequence[Run]) -> tuple[list[MetricColumn], list[MetricColumn]]:
    """Return the columns of the main table's metrics, and those of the table with details of samples.

    Likelihood comes first, in bits/dim where there are pixels, otherwise in nats.
    """
    metrics: dict[str, Metric] = {}
    for run in runs:
        for name, metric in run.record.metrics.items():
            if metric.direction != "none" and (name not in metrics or metrics[name].value is None):
                metrics[name] = metric
    names = [name for name in metrics if name != "nll" or "bits_per_dim" not in metrics]
    names.sort(key=lambda name: (name not in LIKELIHOODS, name not in ("bits_per_dim", "nll"), name))
    columns = [metric_column(name, metrics[name].unit, metrics[name].direction) for name in names]
    main = [c for c in columns if c.quantity.name in MAIN_METRICS or _is_frechet(c.quantity.name)]
    return main, [column for column in columns if column not in main]


def _is_frechet(name: str) -> bool:
    return name.startswith(("fd/", "fid/"))


def metric_column(name: str, unit: str, direction: Direction) -> MetricColumn:
    """Return the column of a metric."""
    column = DivergenceColumn if name == "kl" else MetricColumn
    return column(heading(name), metric_value(name, unit, direction))


def usual_conditions(column: Column, study: Study) -> dict[str, Any]:
    """Return the conditions that most finished runs of a study share.

    Of times of sampling they are those whose values are tested against each other
    (:func:`~zoo.comparison.timing.usual_timing`).
    """
    runs = [run for run in study.runs if run.record.status == "finished"]
    if column.quantity in (LATENCY, THROUGHPUT):
        usual = usual_timing_of(study)
        return next((timing_conditions(run) for run in runs if timing(run) == usual), {})
    finished = [column.conditions(run) for run in runs]
    counts: list[tuple[dict[str, Any], list[int]]] = []  # few differ, so comparing is cheaper than hashing
    for conditions in filter(None, finished):
        n = next((n for known, n in counts if known == conditions), None)
        if n is None:
            counts.append((conditions, n := [0]))
        n[0] += 1
    return max(counts, key=lambda item: item[1][0])[0] if counts else {}


def filled(column: Column, group: Group, usual: Mapping[str, Any], footnotes: Footnotes) -> Cell:
    """Return a column's cell for a group, with a mark if it was measured otherwise than the rest."""
    runs = column.comparable(group, usual)
    cell = column.cell(runs, footnotes)
    if cell.value is not None:
        _mark_unusual(cell, column, runs, usual, footnotes)
        _mark_few_calls(cell, column, runs, footnotes)
        _mark_left_out(cell, column, group.finished, runs, footnotes)
    return cell


def _mark_unusual(
    cell: Cell, column: Column, runs: Sequence[Run], usual: Mapping[str, Any], footnotes: Footnotes
) -> None:
    """Mark a cell that was measured under other conditions than its column, and do not rank it."""
    for conditions in map(column.conditions, runs):
        if conditions and conditions != usual:
            difference = unlike(conditions, usual)
            cell.odd = True
            cell.refer(
                footnotes.mark(f"measured otherwise than the rest of its column, so not ranked: {difference}")
            )


def _mark_few_calls(cell: Cell, column: Column, runs: Sequence[Run], footnotes: Footnotes) -> None:
    """Mark a mean latency if one of its runs timed few calls; the text of a single run shows this itself."""
    if not isinstance(column, LatencyColumn) or cell.seeds == 1:
        return
    calls = [n for run in runs if (n := run.record.sampling.latency_repeats) is not None]
    if calls and min(calls) < FEW_CALLS:
        few = f"{min(calls)}" + (f" to {max(calls)}" if max(calls) > min(calls) else "")
        cell.refer(footnotes.mark(f"calls timed in each run: {few}"))


def _mark_left_out(
    cell: Cell, column: Column, finished: Sequence[Run], shown: Sequence[Run], footnotes: Footnotes
) -> None:
    """Mark a cell that omits seeds whose times are of another machine."""
    if shown is finished:
        return
    averaged = {id(run) for run in shown}
    out = [run for run in finished if id(run) not in averaged]
    if out:
        difference = unlike(column.conditions(out[0]), column.conditions(shown[0]))
        cell.refer(
            footnotes.mark(f"without {len(out)} of {len(finished)} seeds, measured otherwise: {difference}")
        )


def unlike(conditions: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    """Return in words where two sets of conditions differ."""
    differing = [k for k in dict.fromkeys([*conditions, *usual]) if conditions.get(k) != usual.get(k)]
    both = [k for k in differing if conditions.get(k) is not None and usual.get(k) is not None] or differing
    words = [f"{k} {conditions.get(k)} instead of {usual.get(k)}" for k in both if k != SESSION]
    if SESSION in differing:
        here, there = (_who_timed(values.get(SESSION)) for values in (conditions, usual))
        words.append(f"timed {here} instead of {there}" if here != there else "another session of zoo time")
    return ", ".join(words)


def _who_timed(session: str | None) -> str:
    return "by each run itself" if session is None else "in turns by zoo time"
