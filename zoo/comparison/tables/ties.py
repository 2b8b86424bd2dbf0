"""Letters of ties in a column: which configurations a test can tell apart, in place of the bare best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from zoo.comparison.configurations import Group
from zoo.comparison.groups import (
    COUNTS,
    Entry,
    Ranking,
    by_kind,
    entries,
    proven,
    rank,
    rankings,
)
from zoo.comparison.guards import collapsed, key_of
from zoo.comparison.paired import scores_of
from zoo.comparison.quantities import Quantity
from zoo.comparison.studies import Study
from zoo.comparison.tables.cells import Cell


def mark_ties(study: Study, quantity: Quantity, groups: Sequence[Group], cells: Sequence[Cell]) -> None:
    """Give the cells of a column their letters, and mark the best (:func:`~zoo.comparison.groups.best_of`).

    Of each model the configuration that stands for it takes part, since every further pair would cost the
    tests power. A value that was measured under other conditions than its column is left out, and so is a
    configuration with a collapsed run, and one with a single seed. Counts have no letters, since any two
    unequal counts differ; if all are equal, none is the best.

    Args:
        study: of the groups.
        quantity: what the column shows.
        groups: the configurations of the rows.
        cells: one for each of them.
    """
    if quantity.direction == "none":
        return
    usual = _taking_part(study, groups, cells)
    chosen = [group for group, _ in usual.values()]
    cells_of = {key: cell for key, (_, cell) in usual.items()}
    if quantity in COUNTS:
        _mark_counts([cell for key, cell in cells_of.items() if key not in collapsed(study)])
    elif sum(len(group.values(quantity)) > 1 for group in chosen) > 1:  # else no test, and no SciPy
        _mark(cells_of, rankings(study, quantity, chosen))


def proven_bounds(
    study: Study, quantity: Quantity, groups: Sequence[Group], cells: Sequence[Cell]
) -> list[tuple[str, list[str]]]:
    """Return which lower bounds are better than which exact values, according to tests.

    Only configurations that :func:`mark_ties` ranks are tested, by :func:`~zoo.comparison.groups.proven`.

    Returns:
        For each such bound the key of its configuration, and the keys of those with a worse exact value.
    """
    if not {"lower bound", "exact"} <= {cell.kind for cell in cells}:
        return []
    chosen = [group for group, _ in _taking_part(study, groups, cells).values()]
    found = proven(entries(study, quantity, chosen), quantity)
    return [(bound.key, [other.key for other in beaten]) for bound, beaten in found]


def _taking_part(
    study: Study, groups: Sequence[Group], cells: Sequence[Cell]
) -> dict[str, tuple[Group, Cell]]:
    """Return the configurations that are ranked in a column, each with its cell, by their keys."""
    stands = {id(group) for group in study.baselines()}
    return {
        key_of(group): (group, cell)
        for group, cell in zip(groups, cells, strict=True)
        if id(group) in stands and cell.value is not None and not cell.odd
    }


def _mark_counts(cells: Sequence[Cell]) -> None:
    """Mark the least counts as best, unless all are equal."""
    values = [cell.value for cell in cells if cell.value is not None]
    for cell in cells:
        cell.best = cell.sure = cell.value == min(values) < max(values)


def mark_ties_of_runs(places: Mapping[str, tuple[Cell, Group]], quantity: Quantity) -> None:
    """Do the same for cells whose configurations were chosen otherwise, by the name of each."""
    entries = [
        Entry(name, name, tuple(values), cell.kind, scores_of(group.finished))
        for name, (cell, group) in places.items()
        if not cell.odd and len(values := group.values(quantity)) > 1
    ]
    cells = {name: cell for name, (cell, _) in places.items()}
    _mark(cells, [rank(of_kind, quantity) for of_kind in by_kind(entries).values()])


def _mark(cells: Mapping[str, Cell], rankings: Sequence[Ranking]) -> None:
    for ranking in rankings:
        ranked = [place for place in ranking.places if place.letters]
        if len(ranked) > 1:
            first, *others = ranked
            alone = not any(set(first.letters) & set(place.letters) for place in others)
            for place in ranked:
                cell = cells[place.key]
                cell.best, cell.sure, cell.letters = place.best, alone and place is first, place.letters
