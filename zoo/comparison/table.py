"""The table: rows of runs (seeds together), cells that carry their kind, ranks only within a kind."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from zoo.comparison.collect import Run
from zoo.record import Metric

FAMILIES = ("flow", "continuous flow", "diffusion", "autoregressive", "vae", "gan", "unknown")
DAGGER = (
    "† exact for the dequantised density: on average over its noise, an upper bound on the integers' value"
)
MARKS = {"lower bound": "≤ ", "estimate": "≈ "}


@dataclass
class Cell:
    """One entry: what is printed, what it sorts by, and whether it is the best of its kind."""

    text: str
    value: float | None = None
    kind: str = ""
    best: bool = False
    note: str = ""
    spread: float | None = None


@dataclass
class Row:
    """A model with all its seeds."""

    name: str
    family: str
    cells: list[Cell]
    runs: list[Run] = field(default_factory=list)


@dataclass
class Table:
    """The comparison on one data set under one protocol."""

    title: str
    columns: list[str]
    directions: list[str]
    rows: list[Row]
    notes: list[str]


@dataclass(frozen=True)
class Column:
    """A column: its heading, its direction, and where its values come from."""

    heading: str
    key: str
    room: str
    direction: str
    factor: float = 1.0


PLAIN = (
    Column("latency (ms)", "latency_seconds", "sampling", "lower", 1e3),
    Column("samples/s", "throughput", "sampling", "higher"),
    Column("seq. evals", "sequential_evaluations", "sampling", "lower"),
    Column("params", "parameters", "cost", ""),
    Column("updates", "updates", "cost", ""),
    Column("images seen", "images_seen", "cost", ""),
    Column("train (s)", "train_seconds", "cost", ""),
)


def build(runs: Sequence[Run]) -> list[Table]:
    """One table for each data set and protocol; values of different protocols never share a column."""
    sections: dict[tuple[str, str], list[Run]] = {}
    ended = {r.record.data: r.record.provenance.get("protocol_hash") for r in runs if r.record.metrics}
    for run in runs:
        protocol = run.record.provenance.get("protocol_hash") or ended.get(run.record.data) or ""
        sections.setdefault((run.record.data, str(protocol)), []).append(run)
    many = len({data for data, _ in sections}) < len(sections)
    return [
        _table(f"{data} (protocol {protocol[:8]})" if many else data, members)
        for (data, protocol), members in sorted(sections.items())
    ]


def _table(title: str, runs: list[Run]) -> Table:
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        provenance = run.record.provenance
        key = str(provenance.get("config_hash_without_seed") or "")
        groups.setdefault((run.record.model, key), []).append(run)
    metrics = _metric_columns(runs)
    columns = [*metrics, *PLAIN]
    notes: list[str] = []
    rows = []
    names = [model for model, _ in groups]
    for (model, key), members in groups.items():
        good = [run for run in members if run.record.status == "finished"]
        cells = [
            _metric_cell(column, good, notes) if column.room == "metrics" else _plain_cell(column, good)
            for column in columns
        ]
        bad = [run for run in members if run.record.status != "finished"]
        notes += [f"{run.record.run_id} {run.record.status}: {run.record.reason}" for run in bad]
        counts = {s: sum(r.record.status == s for r in members) for s in ("finished", "diverged", "failed")}
        status = (
            ", ".join(f"{n} {s}" for s, n in counts.items() if n) if len(members) > 1 else _status(members[0])
        )
        cells.append(Cell(status))
        name = f"{model} ({key[:6]})" if names.count(model) > 1 else model
        family = next((r.record.family for r in good), members[0].record.family)
        rows.append(Row(name, family, cells, members))
    order = {family: index for index, family in enumerate(FAMILIES)}
    rows.sort(key=lambda row: (order.get(row.family, 99), row.name))
    for index, column in enumerate(columns):
        _mark_best([row.cells[index] for row in rows], column.direction)
    floor = _floor(columns, runs)
    if floor is not None:
        rows.append(floor)
    if any(cell.kind == "exact†" for row in rows for cell in row.cells):
        notes.insert(0, DAGGER)
    seeds = sorted({len({r.record.seed for r in row.runs}) for row in rows if row.runs})
    if seeds and seeds[-1] > 1:
        notes.insert(
            0, "± standard deviation over the seeds, n of them in brackets; best of its kind in bold"
        )
    else:
        notes.insert(
            0, "One seed each (n=1): ± is the standard error over test examples; best of its kind in bold"
        )
    notes.insert(
        1, "≤ bound: the true value is at most this; ≈ estimate; kinds are never ranked against each other"
    )
    return Table(
        title, [c.heading for c in columns] + ["status"], [c.direction for c in columns] + [""], rows, notes
    )


def _status(run: Run) -> str:
    return run.record.status


def _metric_columns(runs: Sequence[Run]) -> list[Column]:
    """Likelihood first (bits/dim where there are pixels, otherwise nats), then the sample metrics."""
    found: dict[str, Metric] = {}
    for run in runs:
        for name, metric in run.record.metrics.items():
            if name not in found or found[name].value is None:
                found[name] = metric
    names = [name for name in ("bits_per_dim",) if name in found]
    names += ["nll"] if "nll" in found and not names else []
    names += sorted(name for name in found if name not in ("bits_per_dim", "nll"))
    headings = {"bits_per_dim": "bits/dim", "nll": "NLL (nats)", "energy_distance": "energy dist."}
    return [Column(headings.get(n, n), n, "metrics", found[n].direction) for n in names]


def kind_of(metric: Metric) -> str:
    """The kind that ranks are made within: a dequantised flow's ``exact`` is one of its own."""
    if metric.kind == "exact" and metric.details.get("dequantisation") == "uniform":
        return "exact†"
    return metric.kind


def _metric_cell(column: Column, runs: Sequence[Run], notes: list[str]) -> Cell:
    metrics = [m for run in runs if (m := run.record.metrics.get(column.key)) is not None]
    values = [m.value for m in metrics if m.value is not None]
    if not values:
        reason = next((m.reason for m in metrics if m.reason), None)
        note = ""
        if reason:
            if reason not in notes:
                notes.append(reason)
            note = reason
        return Cell("—", note=note)
    likelihood = column.key in ("bits_per_dim", "nll")
    kinds = {kind_of(m) for m in metrics if m.value is not None}
    kind = kinds.pop() if len(kinds) == 1 else "mixed"
    mean = statistics.fmean(values)
    if len(values) > 1:
        spread: float | None = statistics.stdev(values)
    else:
        spread = next(m.standard_error for m in metrics if m.value is not None)
    text = number(mean, spread) + (f" [{len(values)}]" if len(values) > 1 else "")
    if likelihood:
        text = MARKS.get(kind, "") + text + ("†" if kind == "exact†" else "")
    return Cell(text, mean, kind if likelihood else "sample", spread=spread)


def _plain_cell(column: Column, runs: Sequence[Run]) -> Cell:
    values = [
        float(v) * column.factor
        for run in runs
        if (v := getattr(run.record, column.room).get(column.key)) is not None
    ]
    if not values:
        return Cell("—")
    value = statistics.fmean(values)
    whole = column.room == "cost" and column.key != "train_seconds"
    return Cell(f"{value:,.0f}" if whole else number(value), value, "plain")


def _mark_best(cells: Sequence[Cell], direction: str) -> None:
    if direction not in ("lower", "higher"):
        return
    for kind in {cell.kind for cell in cells if cell.value is not None} - {"mixed"}:
        rivals = [cell for cell in cells if cell.kind == kind and cell.value is not None]
        if len(rivals) > 1:
            values = [cell.value for cell in rivals if cell.value is not None]
            winner = min(values) if direction == "lower" else max(values)
            for cell in rivals:
                cell.best = cell.value == winner


def _floor(columns: Sequence[Column], runs: Sequence[Run]) -> Row | None:
    """What each sample metric reads for real data against real data at the same n."""
    cells, found = [], False
    for column in columns:
        value = None
        if column.room == "metrics":
            floors = [
                f for run in runs
                if (m := run.record.metrics.get(column.key)) and (f := m.details.get("floor")) is not None
            ]  # fmt: skip
            value = floors[0] if floors else None
            value = value.get("value") if isinstance(value, dict) else value
        found = found or value is not None
        cells.append(Cell(number(float(value)) if value is not None else "", value))
    return Row("real data (floor)", "", [*cells, Cell("")]) if found else None


def number(value: float, spread: float | None = None) -> str:
    """A number as a reader wants it: digits down to its error, never floored to zero.

    >>> number(1.23456, 0.012), number(0.00042), number(-17.73), number(1234567.0)
    ('1.235 ± 0.012', '0.00042', '-17.73', '1.23e+06')
    """
    if not math.isfinite(value):
        return "not finite"
    if spread is not None and math.isfinite(spread) and spread > 0:
        digits = max(0, 1 - math.floor(math.log10(spread)))
        if digits <= 8:
            return f"{value:.{digits}f} ± {spread:.{digits}f}"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size >= 5 or size < -6:
        return f"{value:.3g}"
    digits = max(0, 3 - size) if size < 3 else 0
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
