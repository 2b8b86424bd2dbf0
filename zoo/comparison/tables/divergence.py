"""The overview of data sets whose density is known: each model's divergence from it."""

from __future__ import annotations

from collections.abc import Sequence

from zoo.comparison.collect import Run
from zoo.comparison.configurations import Group, family_rank
from zoo.comparison.metrics import divergence_of
from zoo.comparison.studies import nearest, with_labels
from zoo.comparison.tables.cells import Cell, Footnotes, Row, Table, captions, say_how_many, status
from zoo.comparison.tables.columns import metric_column
from zoo.comparison.tables.main import briefly_trained
from zoo.comparison.tables.ties import mark_ties_of_runs

DIVERGENCE = metric_column("kl", "nats", "lower")


def divergence_table(runs: Sequence[Run]) -> Table | None:
    """Return the table of models against data sets of known entropy; None for fewer than two such sets."""
    if len({run.record.data for run in runs if divergence_of(run) is not None}) < 2:
        return None
    runs = with_labels(runs)
    known = [run for run in runs if divergence_of(run) is not None]
    names = sorted({run.data for run in known})
    footnotes = Footnotes()
    rows: list[Row] = []
    by_data: dict[str, dict[str, tuple[Cell, Group]]] = {name: {} for name in names}
    for model in dict.fromkeys(run.record.model for run in known):
        members = [run for run in runs if run.record.model == model and run.data in names]
        finished = [run for run in known if run.record.model == model and run.record.status == "finished"]
        cells = []
        for name in names:
            on_data = [run for run in finished if run.data == name]
            chosen = Group(model, nearest(on_data) if on_data else [])
            cells.append(_cell(chosen, on_data, footnotes))
            by_data[name][model] = cells[-1], chosen
        rows.append(Row(model, Group(model, members).family, [*cells, status(members, footnotes)], members))
    rows.sort(key=lambda row: (family_rank(row.family), row.name))
    for name, places in by_data.items():
        if not briefly_trained([run for run in runs if run.data == name]):
            mark_ties_of_runs(places, DIVERGENCE.quantity)
    measured = [cell for row in rows for cell in row.cells[:-1]]
    say_how_many(measured)
    return Table(
        title="Divergence from the data's density, KL(data, model) (nats)",
        columns=[*names, "status"],
        directions=[*(DIVERGENCE.direction for _ in names), "none"],
        rows=rows,
        notes=[
            *captions(measured),
            *dict.fromkeys(c.caption for c in measured if c.caption),
            *footnotes.lines(),
        ],
    )


def _cell(chosen: Group, runs: Sequence[Run], footnotes: Footnotes) -> Cell:
    """Return the divergence of a model's nearest configuration; it is not ranked if there are others."""
    cell = DIVERGENCE.cell(chosen.runs, footnotes)
    if len(chosen.runs) < len(runs):
        cell.odd = True
        cell.refer(footnotes.mark("the least of several configurations, so not ranked"))
    return cell
