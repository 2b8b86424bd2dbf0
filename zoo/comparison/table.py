"""The table: rows of runs (seeds together), cells that carry their kind, ranks only within a kind."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.paired import paired
from zoo.comparison.quantities import (
    GRADIENT_SPIKES,
    LOSS_SPIKES,
    NLL,
    NON_FINITE_STEPS,
    OSCILLATION,
    UPDATES,
    UPDATES_WATCHED,
    metric_value,
)
from zoo.comparison.studies import (
    Group,
    Study,
    common_rates,
    divergence_of,
    kind_of,
    nearest,
    sections,
    sensitivities,
)
from zoo.record import STATUSES, Metric

FAMILIES = ("flow", "continuous flow", "diffusion", "autoregressive", "vae", "gan", "unknown")
FEW_CALLS = 5  # behind a latency: fewer are told
BRIEF = 20  # updates: what is trained for fewer has learned nothing that could be ranked
DAGGER = (
    "† exact for the dequantised density: on average over its noise, an upper bound on the integers' value"
)
LIKELIHOODS = ("bits_per_dim", "nll", "kl")
MARKS = {"lower bound": "≤ ", "estimate": "≈ "}


@dataclass
class Cell:
    """One entry: what is printed, what it sorts by, and whether it is the best of its kind.

    Attributes:
        note: what the number follows from, or why there is none.
        seeds: how many values it is the mean of.
        odd: measured otherwise than the rest of its column, thus not ranked.
        marks: of the footnotes.
    """

    text: str
    value: float | None = None
    kind: str = ""
    best: bool = False
    note: str = ""
    spread: float | None = None
    seeds: int = 1
    odd: bool = False
    marks: str = ""

    @property
    def shown(self) -> str:
        """The text with the marks of its footnotes."""
        return self.text + self.marks


class Footnotes(dict[str, int]):
    """Numbered sentences, each once."""

    def mark(self, sentence: str) -> str:
        """The superscript number of ``sentence``, which is added where it is new."""
        number = self.setdefault(" ".join(sentence.split()), len(self) + 1)
        return str(number).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))

    def lines(self) -> list[str]:
        """The footnotes as they are printed."""
        return [f"{self.mark(sentence)} {sentence}" for sentence in self]


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
    beside: bool = False  # of a data set whose main table stands before it


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
    split = sections(runs)
    protocols = Counter(data for data, _ in split)
    tables = []
    for (data, protocol), members in split.items():
        if protocols[data] == 1:
            title, general = data, []
        else:
            title = f"{data} (protocol {protocol[:8] or 'unknown'})"
            general = [
                f"{data} was judged under {protocols[data]} protocols: their values are not comparable"
            ]
        study = Study(data, protocol, members)
        main, details = _metric_columns(members)
        tables.append(_table(title, study, [*main, *PLAIN], general))
        if details:
            tables.append(_table(f"{title}: samples in detail", study, details, [], beside=True))
        if (stability := _stability(f"{title}: stability", study)) is not None:
            tables.append(stability)
        if (invertibility := _invertibility(f"{title}: invertibility", study)) is not None:
            tables.append(invertibility)
    overview = _divergences(runs)
    return [overview, *tables] if overview is not None else tables


def _divergences(runs: Sequence[Run]) -> Table | None:
    """Models against the data sets whose entropies are known; None with fewer than two of those."""
    known = [run for run in runs if divergence_of(run) is not None]
    names = list(dict.fromkeys(run.record.data for run in sorted(known, key=lambda run: run.record.data)))
    if len(names) < 2:
        return None
    column = Column("KL (nats)", "kl", "metrics", "lower")
    order = {family: index for index, family in enumerate(FAMILIES)}
    footnotes = Footnotes()
    rows = []
    for model in dict.fromkeys(run.record.model for run in known):
        members = [run for run in runs if run.record.model == model and run.record.data in names]
        cells = []
        for data in names:
            good = [r for r in known if r.record.model == model and r.record.data == data]
            good = [run for run in good if run.record.status == "finished"]
            chosen = nearest(good) if good else []
            cell = _metric_cell(column, chosen, footnotes)
            if len(chosen) < len(good):
                cell.odd = True
                cell.marks += footnotes.mark("the least of several configurations, so not ranked")
            cells.append(cell)
        cells.append(_status(members, footnotes))
        rows.append(Row(model, Group(model, members).family, cells, members))
    rows.sort(key=lambda row: (order.get(row.family, 99), row.name))
    for index, data in enumerate(names):
        if not _brief([run for run in runs if run.record.data == data]):
            _mark_best([row.cells[index] for row in rows], column.direction)
    measured = [cell for row in rows for cell in row.cells[:-1]]
    return Table(
        "Divergence from the data's density, KL = NLL - entropy (nats)",
        [*names, "status"],
        ["lower"] * len(names) + [""],
        rows,
        [*_captions(measured), *footnotes.lines()],
    )


def _ordered(study: Study) -> list[Group]:
    """A study's configurations by family and name, the one that stands for a model first."""
    order = {family: index for index, family in enumerate(FAMILIES)}

    def place(group: Group) -> tuple[int, str, bool, str]:
        name = study.name(group)
        return order.get(group.family, 99), group.model, name != group.model, name

    return sorted(study.groups, key=place)


def _table(
    title: str, study: Study, columns: Sequence[Column], general: Sequence[str], beside: bool = False
) -> Table:
    runs = study.runs
    usual = [_usual(column, runs) for column in columns]
    footnotes = Footnotes()
    rows = []
    for group in _ordered(study):
        cells = []
        for column, settings in zip(columns, usual, strict=True):
            good = group.finished
            if column.room == "metrics":
                cell = _metric_cell(column, good, footnotes)
            else:
                alike = [run for run in good if _settings(column, run) == settings]
                good = alike or good  # no mean over the times of unlike machines
                cell = _plain_cell(column, good or (group.runs if column.room == "cost" else []))
            if cell.value is not None:
                _flag(cell, column, good, settings, footnotes)
                _tell_few_calls(cell, column, good, footnotes)
                _tell_left_out(cell, column, group.finished, good, footnotes)
            cells.append(cell)
        cells.append(_status(group.runs, footnotes))
        rows.append(Row(study.name(group), group.family, cells, group.runs))
    brief = _brief(runs)
    for index, column in enumerate(columns):
        if not brief:
            _mark_best([row.cells[index] for row in rows], column.direction)
    measured = [
        cell for row in rows for cell, c in zip(row.cells, columns, strict=False) if c.room == "metrics"
    ]
    one = [cell for row in rows for cell in row.cells if cell.seeds == 1]
    timed = any(cell.note.startswith("latency_quartiles") for cell in one)
    calls = ["latency of one run: the median of its calls, their quartiles in parentheses"] * timed
    floor = _floor(columns, runs)
    if floor is not None:
        rows.append(floor)
    return Table(
        title,
        [column.heading for column in columns] + ["status"],
        [column.direction for column in columns] + [""],
        rows,
        [*general, *brief, *_captions(measured, ranked=not brief), *calls, *footnotes.lines()],
        beside,
    )


def _brief(runs: Sequence[Run]) -> list[str]:
    """A note, where every run has so few updates that its quality says nothing; else none."""
    updates = [n for run in runs if (n := UPDATES.of(run.record)) is not None]
    if len(updates) < len(runs) or max(updates) >= BRIEF:
        return []
    few, most = f"{min(updates):g}", f"{max(updates):g}"
    budget = most if few == most else f"{few} to {most}"
    return [f"trained for {budget} updates: a measurement of speed, not of quality"]


WATCHED = (
    ("loss spikes", LOSS_SPIKES),
    ("gradient spikes", GRADIENT_SPIKES),
    ("skipped steps", NON_FINITE_STEPS),
)


def _stability(title: str, study: Study) -> Table | None:
    """How much a model depends on its seed and on the learning rate, and how steadily it trains.

    None where every model has a single run that tells nothing of its training.
    """
    watched = any(run.record.stability.get("updates_watched") for run in study.runs)
    seeded = any(len(group.runs) > 1 for group in study.groups)
    if not watched and not seeded:
        return None
    likelihood = next(
        (n for n in ("bits_per_dim", "nll") if any(n in r.record.metrics for r in study.runs)), None
    )
    spreads = [
        (f"{heading(n)} spread", n) for n in (likelihood, study.quality.name if study.quality else None) if n
    ]
    best = _best_likelihoods(study)
    rates = common_rates(study)
    footnotes = Footnotes()
    columns = [
        "finished",
        *(h for h, _ in spreads),
        *(h for h, _ in WATCHED),
        "oscillation",
        "rate sensitivity",
    ]
    columns += ["nats behind the best"] if best else []
    rows = []
    for group in _ordered(study):
        done, all_runs = len(group.finished), len(group.runs)
        cells = [Cell(f"{done} of {all_runs}", done / all_runs, "plain", seeds=all_runs)]
        cells += [_spread(group.values(metric_value(name))) for _, name in spreads]
        for _, quantity in WATCHED:
            seen = [(v, n) for run in group.runs if (v := quantity.of(run.record)) is not None
                    and (n := UPDATES_WATCHED.of(run.record))]  # fmt: skip
            rate = 1000 * sum(v for v, _ in seen) / sum(n for _, n in seen) if seen else None
            cells.append(Cell("—") if rate is None else Cell(number(rate), rate, "plain"))
        swings = group.values(OSCILLATION)
        cells.append(
            Cell(number(statistics.fmean(swings)), statistics.fmean(swings), "plain") if swings else Cell("—")
        )
        cells.append(_rate_sensitivity(study, group, rates, footnotes))
        if best:
            cells.append(_behind(group, best, footnotes))
        cells.append(_status(group.runs, footnotes))
        rows.append(Row(study.name(group), group.family, cells, group.runs))
    directions = ["higher", *["lower"] * (len(columns) - 1)]
    keep = [i for i in range(len(columns)) if any(row.cells[i].value is not None for row in rows)]
    for row in rows:
        row.cells = [*(row.cells[i] for i in keep), row.cells[-1]]
    several = "spread: standard deviation over seeds relative to the mean, [seeds]; n=1 has none"
    notes = [several if seeded else "One run each (n=1): there is no spread over seeds"]
    if watched:
        notes.append(
            "spikes and skipped steps: in 1,000 updates; oscillation: of the validation criterion (GANs: "
            "the energy distance of samples), over the last third of training; criteria of different kinds "
            "do not compare"
        )
    if "rate sensitivity" in [columns[i] for i in keep]:
        notes.append(
            "rate sensitivity: standard deviation over learning rates of the log distance, mean over seeds; "
            "compare models with the same rates"
        )
    if best:
        notes.append(
            "nats behind the best: mean over test examples of the paired difference from the best of "
            "the same kind, seeds paired in order, ± its standard error over examples"
        )
    return Table(
        title,
        [columns[i] for i in keep] + ["status"],
        [directions[i] for i in keep] + [""],
        rows,
        [*notes, *footnotes.lines()],
        beside=True,
    )


INVERTIBILITY = (
    ("error, float32", "invertibility/float32"),
    ("error, bfloat16", "invertibility/bfloat16"),
    ("log-det error (nats)", "log_det_error"),
    ("Lipschitz", "lipschitz"),
)
ESTIMATION = (
    ("sd of estimate (nats)", "estimator_deviation_nats"),
    ("change, looser (nats)", "looser_change_nats"),
    ("bias bound (nats)", "bias_bound_nats"),
)


def _invertibility(title: str, study: Study) -> Table | None:
    """How exactly flows come back from their latents, and how much estimates err; None without flows."""
    footnotes = Footnotes()
    rows = []
    for group in _ordered(study):
        records = [run.record for run in group.finished]
        if not any(name in record.metrics for record in records for _, name in INVERTIBILITY):
            continue
        cells = []
        for _, name in INVERTIBILITY:
            metrics = [record.metrics[name] for record in records if name in record.metrics]
            reason = next((metric.reason for metric in metrics if metric.reason), None)
            cells.append(_largest([m.value for m in metrics if m.value is not None]))
            if reason:
                cells[-1].marks += footnotes.mark(reason)
        scored = [record.metrics["nll"].details for record in records if "nll" in record.metrics]
        for _, name in ESTIMATION:
            cells.append(_largest([details[name] for details in scored if name in details]))
            if name == "looser_change_nats" and cells[-1].value is not None:
                cells[-1].marks += footnotes.mark(next(d["looser"] for d in scored if "looser" in d))
        cells.append(_status(group.runs, footnotes))
        rows.append(Row(study.name(group), group.family, cells, group.runs))
    if not rows:
        return None
    columns = [heading for heading, _ in (*INVERTIBILITY, *ESTIMATION)]
    keep = [
        i for i in range(len(columns)) if any(row.cells[i].text != "—" or row.cells[i].marks for row in rows)
    ]
    for row in rows:
        row.cells = [*(row.cells[i] for i in keep), row.cells[-1]]
    notes = [
        "error: the largest of an example after the way to its latents and back, in levels or data units; "
        "log-det: against the whole Jacobian; everything is the largest over seeds, and ranks nothing"
    ]
    return Table(
        title,
        [columns[i] for i in keep] + ["status"],
        [""] * (len(keep) + 1),
        rows,
        [*notes, *footnotes.lines()],
        beside=True,
    )


def _largest(values: Sequence[float]) -> Cell:
    """The value farthest from 0."""
    if not values:
        return Cell("—")
    value = max(values, key=abs)
    return Cell(f"{value:.2g}", value, "plain", seeds=len(values))


def _spread(values: Sequence[float]) -> Cell:
    if not values:
        return Cell("—")
    if len(values) == 1 or statistics.fmean(values) == 0:
        return Cell("n=1" if len(values) == 1 else "—")
    spread = deviation(values) / abs(statistics.fmean(values))
    return Cell(f"{100 * spread:.2g} % [{len(values)}]", spread, "plain", seeds=len(values))


def _rate_sensitivity(
    study: Study, group: Group, rates: Sequence[float] | None, footnotes: Footnotes
) -> Cell:
    found = sensitivities(study, [group], rates)
    if found is None or not found[1][0]:
        return Cell("—")
    used, (spreads,) = found
    mark = footnotes.mark(f"at learning rates {', '.join(f'{rate:g}' for rate in used)}")
    mean = statistics.fmean(spreads)
    return Cell(f"{number(mean)} [{len(spreads)}]", mean, "plain", seeds=len(spreads), marks=mark)


def _best_likelihoods(study: Study) -> dict[str, Group]:
    """Of each kind the configuration with the least nats, where there are others to compare."""
    by_kind: dict[str, list[Group]] = {}
    for group in study.groups:
        kinds = group.kinds("nll")
        if len(kinds) == 1 and group.values(NLL):
            by_kind.setdefault(kinds.pop(), []).append(group)
    return {
        kind: min(own, key=lambda g: statistics.fmean(g.values(NLL)))
        for kind, own in by_kind.items()
        if len(own) > 1 and any(paired(own[0].finished[0], other.finished[0]) for other in own[1:])
    }


def _behind(group: Group, best: dict[str, Group], footnotes: Footnotes) -> Cell:
    """How many nats an example a model lies behind the best of its kind, over the same test examples."""
    kinds = group.kinds("nll")
    leader = best.get(kinds.pop()) if len(kinds) == 1 else None
    if leader is None or not group.finished:
        return Cell("—")
    if leader.runs == group.runs:
        return Cell("best of its kind", 0.0, "plain")
    found = [
        d for a, b in zip(leader.finished, group.finished, strict=False) if (d := paired(a, b)) is not None
    ]
    if not found:
        return Cell("—")
    gap = statistics.fmean(d.mean for d in found)
    # seeds score the same examples, so their errors do not average out
    error = statistics.fmean(d.standard_error for d in found)
    return Cell(f"{number(gap, error)} [{len(found)}]", gap, "plain", spread=error, seeds=len(found))


def _captions(cells: Sequence[Cell], ranked: bool = True) -> list[str]:
    """What ±, bold print and the marks mean, of those that occur."""
    bold = "; best of its kind in bold" if ranked else ""
    seeds = {cell.seeds for cell in cells if cell.value is not None}
    several = "± standard deviation over n seeds, [n] in brackets"
    if seeds <= {1}:
        lines = [f"One seed each (n=1): ± is the standard error over test examples{bold}"]
    elif 1 in seeds:
        lines = [f"{several}; else (n=1) the standard error over test examples{bold}"]
    else:
        lines = [f"{several}{bold}"]
    kinds = {cell.kind for cell in cells}
    if kinds & {"lower bound", "estimate"}:
        lines.append(
            "≤ bound: the true value is at most this; ≈ estimate; kinds are never ranked against each other"
        )
    return lines + ([DAGGER] if "exact†" in kinds else [])


def _status(members: Sequence[Run], footnotes: Footnotes) -> Cell:
    """How the runs of a row ended; each that did not finish has its reason below the table."""
    counts = Counter(run.record.status for run in members)
    single = len(members) == 1
    cell = Cell(", ".join(s if single else f"{counts[s]} {s}" for s in STATUSES if counts[s]))
    for run in members:
        if run.record.status != "finished":
            reason = run.record.reason or "no reason was recorded"
            cell.marks += footnotes.mark(f"{run.record.run_id} {run.record.status}: {reason}")
    return cell


def deviation(values: Sequence[float]) -> float:
    """The standard deviation of two values or more; in floating point, as the library's exact one is slow."""
    mean = statistics.fmean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def timed_by(run: Run) -> dict[str, Any]:
    """What has to agree for two speeds of sampling to be comparable."""
    sampling, hardware = run.record.sampling, run.record.provenance.get("hardware") or {}
    found = {name: sampling.get(name) for name in ("device", "threads", "dtype")}
    cpu = {"cpu": hardware.get("cpu")} if found["device"] == "cpu" else {}
    return found | cpu | {"compiled": bool(sampling.get("compiled"))}


def _settings(column: Column, run: Run) -> dict[str, Any]:
    """What has to agree for two values of a column to be comparable."""
    if column.room == "sampling" and column.key != "sequential_evaluations":
        return timed_by(run)
    if column.key == "train_seconds" and "device" in run.record.sampling:
        machine = {key: value for key, value in timed_by(run).items() if key in ("device", "cpu")}
        return machine | {"compiled": bool(run.record.cost.get("compiled"))}
    metric = run.record.metrics.get(column.key) if column.room == "metrics" else None
    if metric is None or metric.value is None:
        return {}
    names = ("extractor", "weights_sha256", "reference_n")
    details = {name: metric.details[name] for name in names if name in metric.details}
    return {"n": metric.n, "split": metric.split, **details}


def _usual(column: Column, runs: Sequence[Run]) -> dict[str, Any]:
    """The settings that most finished runs share."""
    found = [s for run in runs if run.record.status == "finished" and (s := _settings(column, run))]
    names = list(map(repr, found))
    counts = Counter(names)
    return found[max(range(len(found)), key=lambda i: counts[names[i]])] if found else {}


def _flag(
    cell: Cell, column: Column, runs: Sequence[Run], usual: dict[str, Any], footnotes: Footnotes
) -> None:
    """Mark a cell whose value was measured otherwise than the rest of its column."""
    for run in runs:
        settings = _settings(column, run)
        if settings == usual:
            continue
        if settings:
            here = _unlike(settings, usual)
            cell.odd = True
            mark = footnotes.mark(f"measured otherwise than the rest of its column, so not ranked: {here}")
            cell.marks += mark if mark not in cell.marks else ""


def _unlike(settings: dict[str, Any], usual: dict[str, Any]) -> str:
    """In what two measurements differ, in words."""
    differing = [k for k in dict.fromkeys([*settings, *usual]) if settings.get(k) != usual.get(k)]
    both = [k for k in differing if settings.get(k) is not None and usual.get(k) is not None] or differing
    return ", ".join(f"{k} {settings.get(k)} instead of {usual.get(k)}" for k in both)


def _tell_left_out(
    cell: Cell, column: Column, runs: Sequence[Run], shown: Sequence[Run], footnotes: Footnotes
) -> None:
    """Say how many seeds a cell is without, since their times are another machine's."""
    out = [run for run in runs if run not in shown]
    if out:
        why = _unlike(_settings(column, out[0]), _settings(column, shown[0]))
        cell.marks += footnotes.mark(f"without {len(out)} of {len(runs)} seeds, measured otherwise: {why}")


def _tell_few_calls(cell: Cell, column: Column, runs: Sequence[Run], footnotes: Footnotes) -> None:
    """Say where a latency over seeds is of fewer calls than a median needs; one run's says so itself."""
    calls = [n for run in runs if (n := run.record.sampling.get("latency_repeats")) is not None]
    if column.key == "latency_seconds" and cell.seeds > 1 and calls and min(calls) < FEW_CALLS:
        few = f"{min(calls)}" + (f" to {max(calls)}" if max(calls) > min(calls) else "")
        cell.marks += footnotes.mark(f"calls timed in each run: {few}")


SPEED = ("device", "threads", "dtype", "compiled", "peak_memory_bytes")
TIMINGS = {  # what varies from one measurement to the next, and what of the record stands behind it
    "latency_seconds": ("latency_quartiles", "latency_repeats", *SPEED),
    "throughput": ("throughput_batch", *SPEED),
    "train_seconds": ("device_seconds", "peak_memory_bytes", "compiled"),
}
HEADINGS = {
    "bits_per_dim": "bits/dim",
    "nll": "NLL (nats)",
    "kl": "KL (nats)",
    "energy_distance": "energy dist.",
    "sharpness/spectrum": "spectrum",
}
MAIN = (*LIKELIHOODS, "fid", "energy_distance", "sharpness")  # and the Fréchet distances


def heading(name: str) -> str:
    """A metric as a column's heading."""
    return HEADINGS.get(name, name)


def _metric_columns(runs: Sequence[Run]) -> tuple[list[Column], list[Column]]:
    """The main table's metrics (likelihood first, in bits/dim where there are pixels, otherwise in nats; then
    the distance and the sharpness of samples), and those that are told in a table of their own."""
    found: dict[str, Metric] = {}
    for run in runs:
        for name, metric in run.record.metrics.items():
            if metric.direction != "none" and (name not in found or found[name].value is None):
                found[name] = metric
    names = [name for name in ("bits_per_dim",) if name in found]
    names += ["nll"] if "nll" in found and not names else []
    names += sorted(name for name in found if name not in ("bits_per_dim", "nll"))
    names.sort(key=lambda n: n not in LIKELIHOODS)  # stable
    columns = [Column(heading(n), n, "metrics", found[n].direction) for n in names]
    main = [c for c in columns if c.key in MAIN or c.key.startswith("fd/")]
    return main, [c for c in columns if c not in main]


def _metric_cell(column: Column, runs: Sequence[Run], footnotes: Footnotes) -> Cell:
    metrics = [m for run in runs if (m := run.record.metrics.get(column.key)) is not None]
    valued = [m for m in metrics if m.value is not None]
    values = [m.value for m in valued if m.value is not None]
    if not values:
        reason = next((m.reason for m in metrics if m.reason), "")
        return Cell("—", note=reason, marks=footnotes.mark(reason) if reason else "")
    likelihood = column.key in LIKELIHOODS
    kinds = sorted({kind_of(m) for m in valued})
    kind = kinds[0] if len(kinds) == 1 else "mixed"
    several = len(values) > 1
    mean = statistics.fmean(values)
    spread = deviation(values) if several else valued[0].standard_error
    text = number(mean, spread) + (f" [{len(values)}]" if several else "")
    marks = ""
    if likelihood:
        text = MARKS.get(kind, "") + text + ("†" if kind == "exact†" else "")
        marks = footnotes.mark(f"the seeds' kinds differ ({', '.join(kinds)})") if kind == "mixed" else ""
    first = valued[0]
    facts = {"kind": first.kind, "n": first.n, "split": first.split, **first.details}
    note = "; ".join(f"{k}: {v}" for k, v in facts.items() if not isinstance(v, dict | list))
    return Cell(
        text, mean, kind if likelihood else "sample", note=note, spread=spread, seeds=len(values), marks=marks
    )


def _plain_cell(column: Column, runs: Sequence[Run]) -> Cell:
    """A number without a sampling error: of timings, the spread over seeds, or the quartiles of one run's."""
    rooms = [room for run in runs if (room := getattr(run.record, column.room)).get(column.key) is not None]
    values = [float(room[column.key]) * column.factor for room in rooms]
    if not values:
        return Cell("—")
    value = statistics.fmean(values)
    if column.key not in TIMINGS:
        return Cell(f"{value:,.0f}" if column.room == "cost" else number(value), value, "plain")
    facts = (f"{key}: {rooms[0][key]}" for key in TIMINGS[column.key] if rooms[0].get(key) is not None)
    note = "; ".join([*facts, *(["the first seed's"] if len(values) > 1 else [])])
    if len(values) > 1:
        spread = deviation(values)
        text = f"{number(value, spread)} [{len(values)}]"
        return Cell(text, value, "plain", note=note, spread=spread, seeds=len(values))
    text, repeats = number(value), rooms[0].get("latency_repeats")
    quartiles = rooms[0].get("latency_quartiles")
    if column.key == "latency_seconds" and repeats is not None and quartiles:
        low, high = (number(q * column.factor) for q in quartiles)
        text += f" ({low} to {high})" if repeats > 1 else " (n=1)"
    return Cell(text, value, "plain", note=note)


def _mark_best(cells: Sequence[Cell], direction: str) -> None:
    if direction not in ("lower", "higher", "one"):
        return
    for kind in {cell.kind for cell in cells if cell.value is not None} - {"mixed"}:
        rivals = [c for c in cells if c.kind == kind and c.value is not None and not c.odd]
        if len(rivals) > 1:
            losses = [_loss(cell.value or 0.0, direction) for cell in rivals]
            for cell, loss in zip(rivals, losses, strict=True):
                cell.best = loss == min(losses)


def _loss(found: float, direction: str) -> float:
    """What is the less the better; of a ratio that should be 1, twice is as far away as half."""
    if direction == "one":
        return abs(math.log(found)) if found > 0 else math.inf
    return found if direction == "lower" else -found


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
        if digits <= 8 and abs(value) < 1e6:
            return f"{value:,.{digits}f} ± {spread:,.{digits}f}"
        return f"{value:.4g} ± {spread:.1g}"
    if value == 0:
        return "0"
    size = math.floor(math.log10(abs(value)))
    if size >= 5 or size < -6:
        return f"{value:.3g}"
    digits = max(0, 3 - size) if size < 3 else 0
    text = f"{value:,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
