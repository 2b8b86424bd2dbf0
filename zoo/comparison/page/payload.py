"""The data of the page: studies with their columns and rows, and the facts of every run, ready for JSON.

Everything is in columns, so that it is small under gzip: a list for each fact, with an entry for each row or
run. Ids, not places, name rows, so that a selection survives new runs: a row's id is its model and the hash
of its configuration without the seed. A text that many runs share is stored once, in ``strings``, and named
by its place there.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.configurations import FAMILIES, Group, settings
from zoo.comparison.quantities import Quantity
from zoo.comparison.studies import Study, studies
from zoo.comparison.tables.cells import (
    LIKELIHOODS,
    Cell,
    Footnotes,
    Table,
    empty,
    number,
    scalar,
    status,
)
from zoo.comparison.tables.columns import (
    COSTS,
    Column,
    MetricColumn,
    filled,
    metric_columns,
    usual_conditions,
)
from zoo.comparison.tables.declare import study_tables
from zoo.comparison.tables.main import briefly_trained
from zoo.comparison.tables.ties import mark_ties
from zoo.record import Direction, Record

DIGITS = 6  # significant digits of a number on the page
Json = dict[str, Any]


class Strings(list[str]):
    """Texts, each once; :meth:`place` returns the place of one."""

    def __init__(self) -> None:
        super().__init__()
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        """Return the place of ``text``, which is added if it is new."""
        if text not in self._places:
            self._places[text] = len(self)
            self.append(text)
        return self._places[text]


@dataclass
class PageColumn:
    """A column of the page's one table.

    Attributes:
        key: its name in the address of a view.
        heading: as it is printed.
        group: the group of columns that it belongs to.
        direction: which value is better.
        cells: a cell for each group of runs, in the order of the rows.
        values: the value of each run of a row, where the column has one of single runs.
        unit: of the values; empty for plain numbers.
        likelihood: whether its cells have kinds, in which alone they are ranked.
        floor: the value of real data, if there is one.
        ranked: whether one direction is better.
    """

    key: str
    heading: str
    group: str
    direction: Direction
    cells: list[Cell]
    values: list[list[float | None]] | None = None
    unit: str = ""
    likelihood: bool = False
    floor: float | None = None
    ranked: bool = False


def facts(runs: Sequence[Run], strings: Strings | None = None) -> Json:
    """Return studies, rows and runs as JSON can hold them; texts are added to ``strings`` if it is given."""
    strings = Strings() if strings is None else strings
    places = {id(run): index for index, run in enumerate(runs)}
    return {
        "families": list(FAMILIES),
        "studies": [_study(study, places, strings) for study in studies(runs)],
        "runs": _runs(runs, strings),
        "strings": strings,
        "made": _made(runs),
    }


def row_id(group: Group) -> str:
    """Return the id of a row: the model, and the hash of its configuration without the seed."""
    return f"{group.model}~{(group.runs[0].record.provenance.config_hash_without_seed or '')[:12]}"


def study_id(study: Study) -> str:
    """Return the id of a study: the name of the data and the protocol."""
    return f"{study.label}~{study.protocol[:8]}"


def rounded(value: float | None) -> float | None:
    """Return a number with the digits that the page keeps; None for what JSON cannot hold."""
    if value is None or not math.isfinite(value):
        return None
    short = float(f"{value:.{DIGITS}g}")
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def page_columns(study: Study) -> list[PageColumn]:
    """Return the columns of a study: metrics, speed and cost, then those of the tables beside."""
    main, details = metric_columns(study.runs)
    footnotes = Footnotes()
    found: list[PageColumn] = []
    for column in (*main, *details, *COSTS, *EXTRA):
        usual = usual_conditions(column, study.runs)
        cells = [filled(column, group, usual, footnotes) for group in study.ordered]
        if not any(cell.value is not None or cell.note for cell in cells):
            continue
        found.append(
            PageColumn(
                key=column.quantity.name,
                heading=column.heading,
                group=_group_of(column),
                direction=column.direction,
                cells=cells,
                values=[_values(column, group) for group in study.ordered],
                unit=column.quantity.unit,
                likelihood=column.quantity.name in LIKELIHOODS,
                floor=column.floor(study.runs),
            )
        )
        if not briefly_trained(study.runs):
            mark_ties(study, column.quantity, study.ordered, cells)
            found[-1].ranked = column.direction != "none"
    return found + [
        column for table in study_tables() for column in _beside(table.build(table.name, study), study)
    ]


def _values(column: Column, group: Group) -> list[float | None]:
    values = [column.quantity.of(run.record) for run in group.runs]
    return [None if value is None else rounded(value * column.factor) for value in values]


def _group_of(column: Column) -> str:
    if isinstance(column, MetricColumn):
        return "likelihood" if column.quantity.name in LIKELIHOODS else "samples"
    return GROUPS.get(column.quantity.name, "cost")


def _beside(table: Table | None, study: Study) -> Iterable[PageColumn]:
    """Yield the columns of a table beside the main one; a model that it leaves out has empty cells."""
    if table is None:
        return
    by_runs = {tuple(map(id, row.runs)): row.cells for row in table.rows}
    rows = [by_runs.get(tuple(map(id, group.runs))) for group in study.ordered]
    for index, heading in enumerate(table.columns[:-1]):
        cells = [empty() if row is None else row[index] for row in rows]
        name = table.title
        yield PageColumn(f"{name}/{heading}", heading, name, table.directions[index], cells)


GROUPS = {
    "latency": "sampling",
    "throughput": "sampling",
    "sequential evaluations": "sampling",
    "operations of a sample": "sampling",
    "memory of sampling": "sampling",
}
MEGABYTE = 1e-6


class MeanColumn(Column):
    """A cost without a direction of its own error: the mean over the runs that have it."""

    def cell(self, runs: Sequence[Run], footnotes: Footnotes) -> Cell:
        """Return the mean over runs with three digits."""
        values = self.values(runs)
        if not values:
            return empty()
        mean = math.fsum(values) / len(values)
        return scalar(number(float(f"{mean:.3g}")), mean, len(values))


def _quantity(name: str, unit: str, read: Callable[[Record], float | None]) -> Quantity:
    return Quantity(name, unit, "lower", read)


EXTRA = (
    MeanColumn(
        "FLOPs/sample", _quantity("operations of a sample", "1", lambda r: r.sampling.flops_per_example)
    ),
    MeanColumn(
        "sampling memory (MB)",
        _quantity("memory of sampling", "byte", lambda r: r.sampling.peak_memory_bytes),
        MEGABYTE,
    ),
    MeanColumn("device-s", _quantity("device seconds", "s", lambda r: r.cost.device_seconds)),
    MeanColumn("memory (MB)", _quantity("memory", "byte", lambda r: r.cost.peak_memory_bytes), MEGABYTE),
    MeanColumn(
        "FLOPs/example", _quantity("operations of an update", "1", lambda r: r.cost.flops_per_example)
    ),
)


def _study(study: Study, places: Mapping[int, int], strings: Strings) -> Json:
    columns, footnotes = page_columns(study), Footnotes()
    groups = study.ordered
    stands = {id(study.baseline(group.model)) for group in groups}
    first = study.runs[0].record.provenance
    data = next((run.record.provenance.data for run in study.runs if run.record.provenance.data), None)
    return {
        "id": study_id(study),
        "title": study.title,
        "label": study.label,
        "data": study.data,
        "protocol": study.protocol,
        "judged": _protocol_in_words(study),
        "about": None if data is None else _recorded(dataclasses.asdict(data)),
        "quality": study.quality.name if study.quality else None,
        "notes": briefly_trained(study.runs),
        "hardware": strings.place(_hardware(first.hardware)),
        "rows": {
            "id": [row_id(group) for group in groups],
            "model": [group.model for group in groups],
            "family": [group.family for group in groups],
            "name": [study.name(group) for group in groups],
            "stands": [int(id(group) in stands) for group in groups],
            "runs": [[places[id(run)] for run in group.runs] for group in groups],
            "status": [status(group.runs, footnotes).text for group in groups],
            "finished": [len(group.finished) for group in groups],
        },
        "columns": [_column(column, strings) for column in columns],
        **_configurations(groups, strings),
        "batches": _batches(groups),
    }


def _column(column: PageColumn, strings: Strings) -> Json:
    return {
        "key": column.key,
        "heading": column.heading,
        "group": column.group,
        "direction": column.direction,
        "unit": column.unit,
        "likelihood": column.likelihood,
        "ranked": column.ranked,
        "floor": rounded(column.floor),
        "text": [cell.text for cell in column.cells],
        "value": [rounded(cell.value) for cell in column.cells],
        "spread": [rounded(cell.spread) for cell in column.cells],
        "n": [cell.seeds if cell.value is not None else 0 for cell in column.cells],
        "kind": [cell.kind if column.likelihood else "" for cell in column.cells],
        "odd": [int(cell.odd) for cell in column.cells],
        "letters": [cell.letters for cell in column.cells],
        "tied": [int(cell.best) for cell in column.cells],
        "why": [strings.place(cell.note) for cell in column.cells],
        "seeds": column.values,
    }


def _configurations(groups: Sequence[Group], strings: Strings) -> Json:
    """Return the settings that all rows share, and those of each row in which the rows differ."""
    flat = [{name: _written(value) for name, value in group.settings.items()} for group in groups]
    shared = {
        name: value for name, value in flat[0].items() if all(other.get(name) == value for other in flat[1:])
    }
    own = [
        [
            [strings.place(name), strings.place(value)]
            for name, value in sorted(one.items())
            if name not in shared
        ]
        for one in flat
    ]
    return {"settings": own, "shared": {name: strings.place(value) for name, value in sorted(shared.items())}}


def _written(value: Any) -> str:
    return "null" if value is None else str(value)


def _batches(groups: Sequence[Group]) -> list[Json]:
    """Return for each row the seconds of a call by batch size, a list over seeds."""
    found = []
    for group in groups:
        seconds: dict[str, list[float | None]] = {}
        for run in group.finished:
            for batch, speed in run.record.sampling.throughput_by_batch.items():
                if speed:
                    seconds.setdefault(batch, []).append(rounded(int(batch) / speed))
        found.append(dict(sorted(seconds.items(), key=lambda item: int(item[0]))))
    return found


def _protocol_in_words(study: Study) -> Json:
    """Return the settings of the protocol as ``{name: value}``, so that two can be compared."""
    protocols = [run.record.provenance.protocol for run in study.runs if run.record.provenance.protocol]
    if protocols:
        flat = settings_of(protocols[0].settings) | {"version": str(protocols[0].version)}
    else:
        every = settings(study.runs[0]).items()
        flat = {k.removeprefix("evaluation."): _written(v) for k, v in every if k.startswith("evaluation.")}
    return dict(sorted(flat.items()))


def settings_of(tree: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Return a nested dictionary as ``{"a.b": "text"}``."""
    flat: dict[str, str] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat |= settings_of(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = _written(value)
    return flat


def _runs(runs: Sequence[Run], strings: Strings) -> Json:
    def each(fact: Callable[[Run], Any]) -> list[Any]:
        return [fact(run) for run in runs]

    def text(fact: Callable[[Run], str | None]) -> list[int]:
        return [strings.place(fact(run) or "") for run in runs]

    return {
        "id": each(lambda run: run.record.run_id),
        "seed": each(lambda run: run.record.seed),
        "status": text(lambda run: run.record.status),
        "reason": text(lambda run: run.record.reason),
        "command": each(lambda run: run.record.provenance.command or ""),
        "hash": each(lambda run: (run.record.provenance.config_hash or "")[:16]),
        "commit": text(lambda run: (run.record.provenance.git_commit or "")[:12]),
        "versions": text(lambda run: _pairs(run.record.provenance.versions)),
        "hardware": text(lambda run: _hardware(run.record.provenance.hardware)),
        "load": text(_load),
        "again": text(_judged_again),
        "checkpoint": text(lambda run: _checkpoint(run.record)),
        "finished": text(lambda run: (run.record.provenance.finished_at or "")[:16].replace("T", " ")),
        "directory": each(lambda run: _where(run)),
        "images": each(lambda run: run.record.cost.images_seen),
        "flops": each(lambda run: rounded(run.record.cost.flops_per_example)),
    }


def _where(run: Run) -> str:
    """Return the last three parts of the path of a run: enough to find it, nothing of the machine."""
    return "/".join(run.directory.parts[-3:])


def _checkpoint(record: Record) -> str:
    source = record.provenance
    if not source.checkpoint:
        return ""
    facts = [source.checkpoint]
    if source.checkpoint_updates is not None:
        facts.append(f"after {source.checkpoint_updates:,} updates")
    if source.weights:
        facts.append(f"{source.weights} weights")
    return ", ".join(facts)


def _load(run: Run) -> str:
    load = run.record.sampling.load
    if load is None or load.before is None:
        return ""
    after = "" if load.after is None else f" to {load.after:.1f}"
    return f"load {load.before:.1f}{after} on {load.cores} cores while speed was measured"


def _judged_again(run: Run) -> str:
    again = run.record.provenance.judged_again
    if again is None:
        return ""
    return f"judged again by commit {(again.git_commit or 'unknown')[:12]} on {_hardware(again.hardware)}"


def _hardware(hardware: Any) -> str:
    counts = [(getattr(hardware, name), name) for name in ("cores", "threads", "jobs")]
    facts = [f"{count} {name if count != 1 else name[:-1]}" for count, name in counts if count is not None]
    return ", ".join(filter(None, [hardware.accelerator, hardware.cpu, *facts]))


def _pairs(facts: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def _recorded(tree: Json) -> Json:
    """Return a part of a record without the fields that are None or empty."""
    return {name: value for name, value in tree.items() if value is not None and value not in ({}, [])}


def _made(runs: Sequence[Run]) -> Json:
    """Return what the head of the page says: how many of what, when, by which code."""
    records = [run.record for run in runs]
    times = [r.provenance.finished_at for r in records if r.provenance.finished_at]
    return {
        "runs": len(runs),
        "models": len({r.model for r in records}),
        "finished": sum(r.status == "finished" for r in records),
        "seeds": len({r.seed for r in records}),
        "newest": max(times, default="")[:16].replace("T", " "),
        "commits": sorted({(r.provenance.git_commit or "")[:12] for r in records} - {""}),
        "versions": sorted({v for r in records if (v := r.provenance.versions.get("zoo"))}),
        "machines": sorted({m for r in records if (m := _hardware(r.provenance.hardware))}),
    }
