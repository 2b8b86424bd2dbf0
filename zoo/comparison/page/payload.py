"""The data of the page: studies with their columns and rows, and the facts of every run, ready for JSON.

Everything is in columns, so that it is small under gzip: a list for each fact, with an entry for each row or
run. Ids, not places, name rows, so that a selection survives new runs: a row's id is its model and the hash
of its configuration without the seed. A text that many runs share is stored once, in ``strings``, and named
by its place there.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from zoo.comparison.collect import Run
from zoo.comparison.configurations import FAMILIES, Group, settings
from zoo.comparison.criterion import criterion_of
from zoo.comparison.front import THICKNESS
from zoo.comparison.guards import key_of, sure_floor
from zoo.comparison.page.columns import PageColumn, page_columns
from zoo.comparison.page.runs import Published, facts_of_runs, hardware_text, summary
from zoo.comparison.page.shorten import Strings, legible, rounded, row_id, study_id
from zoo.comparison.recommend.dimension import NEAR
from zoo.comparison.studies import Study, studies
from zoo.comparison.tables.cells import Footnotes, number, status
from zoo.comparison.tables.main import BOUND_TEST, briefly_trained
from zoo.comparison.words import protocol_text, setting_text

Json = dict[str, Any]


def facts(
    runs: Sequence[Run],
    strings: Strings | None = None,
    published: Mapping[str, Sequence[Published]] | None = None,
) -> Json:
    """Return studies, rows and runs as JSON can hold them.

    Args:
        runs: the compared runs.
        strings: receives the texts; None: a new list.
        published: the published values of some runs, by the run's id.
    """
    strings = Strings() if strings is None else strings
    places = {id(run): index for index, run in enumerate(runs)}
    return {
        "families": list(FAMILIES),
        "thickness": THICKNESS,
        "bound_test": BOUND_TEST,
        "near": NEAR,
        "studies": [_study(study, places, strings) for study in studies(runs)],
        "runs": facts_of_runs(runs, strings, published),
        "strings": strings,
        "made": summary(runs),
    }


def _study(study: Study, places: Mapping[int, int], strings: Strings) -> Json:
    columns, footnotes = page_columns(study), Footnotes()
    groups = study.ordered
    places_of = {key_of(group): index for index, group in enumerate(groups)}
    stands = {id(study.baseline(group.model)) for group in groups}
    first, judged = study.runs[0].record.provenance, judged_settings(study.runs)
    data = next((run.record.provenance.data for run in study.runs if run.record.provenance.data), None)
    return {
        "id": study_id(study),
        "title": study.title,
        "label": study.label,
        "data": study.data,
        "protocol": study.protocol,
        "judged": judged,
        "judged_words": protocol_text(study.runs, judged),
        "judged_settings": {name: setting_text(name, value) for name, value in judged.items()},
        "about": None if data is None else _recorded(dataclasses.asdict(data)),
        "quality": study.quality.name if study.quality else None,
        "criterion": criterion.name if (criterion := criterion_of(study)) is not None else None,
        "guarded": rounded(sure_floor(study)),
        "notes": briefly_trained(study.runs),
        "hardware": strings.place(hardware_text(first.hardware)),
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
        "columns": [_column(column, strings, places_of) for column in columns],
        **_configurations(groups, strings),
        "batches": _batches(groups),
    }


def _column(column: PageColumn, strings: Strings, places: Mapping[str, int]) -> Json:
    return {
        "key": column.key,
        "heading": column.heading,
        "group": column.group,
        "direction": column.direction,
        "unit": column.unit,
        "likelihood": column.likelihood,
        "ranked": column.ranked,
        "counted": int(column.counted),
        "ratios": int(column.ratios),
        "timed": column.unit in ("s", "1/s"),
        "floor": None if column.floor is None else rounded(column.floor[0]),
        "floor_text": "" if column.floor is None else number(*column.floor),
        "text": [cell.text for cell in column.cells],
        "value": [rounded(cell.value) for cell in column.cells],
        "spread": [rounded(cell.spread) for cell in column.cells],
        "n": [cell.seeds if cell.value is not None else 0 for cell in column.cells],
        "kind": [cell.kind if column.likelihood else "" for cell in column.cells],
        "odd": [int(cell.odd) for cell in column.cells],
        "letters": [cell.letters for cell in column.cells],
        "tied": [int(cell.best) for cell in column.cells],
        "proven": [[places[bound], [places[one] for one in beaten]] for bound, beaten in column.proven],
        "paired": [[places[a], places[b], *map(rounded, numbers)] for a, b, *numbers in column.paired],
        "sure": [int(cell.sure) for cell in column.cells],
        "why": [strings.place(cell.words or legible(cell.note)) for cell in column.cells],
        "raw": [strings.place(legible(cell.note) if cell.words else "") for cell in column.cells],
        "seeds": column.values,
        "captions": sorted({cell.caption for cell in column.cells if cell.caption}),
    }


def _configurations(groups: Sequence[Group], strings: Strings) -> Json:
    """Return the settings that all rows share, and those of each row in which the rows differ."""
    flat = [{name: _written(value) for name, value in group.settings.items()} for group in groups]
    shared = {
        name: value for name, value in flat[0].items() if all(other.get(name) == value for other in flat[1:])
    }
    rows = [
        [
            [strings.place(name), strings.place(value)]
            for name, value in sorted(one.items())
            if name not in shared
        ]
        for one in flat
    ]
    return {
        "settings": rows,
        "shared": {name: strings.place(value) for name, value in sorted(shared.items())},
    }


def _written(value: Any) -> str:
    return "null" if value is None else str(value)


def _batches(groups: Sequence[Group]) -> list[Json]:
    """Return for each row the seconds of a call by batch size, one a finished seed (None: not timed)."""
    rows = []
    for group in groups:
        speeds = [run.record.sampling.throughput_by_batch for run in group.finished]
        sizes = sorted({int(batch) for by_batch in speeds for batch, speed in by_batch.items() if speed})
        rows.append(
            {str(size): [_seconds(by_batch.get(str(size)), size) for by_batch in speeds] for size in sizes}
        )
    return rows


def _seconds(speed: float | None, size: int) -> float | None:
    """Return the seconds of a call for a batch, by samples per second."""
    return rounded(size / speed) if speed else None


def judged_settings(runs: Sequence[Run]) -> dict[str, str]:
    """Return the settings of the protocol of some runs as ``{name: value}``, for comparing two protocols."""
    protocols = [run.record.provenance.protocol for run in runs if run.record.provenance.protocol]
    if protocols:
        flat = settings_of(protocols[0].settings) | {"version": str(protocols[0].version)}
    else:
        every = settings(runs[0]).items()
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


def _recorded(tree: Json) -> Json:
    """Return a part of a record without the fields that are None or empty."""
    return {name: value for name, value in tree.items() if value is not None and value not in ({}, [])}
