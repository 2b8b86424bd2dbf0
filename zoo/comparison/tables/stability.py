"""The table of stability: dependence on the seed and on the learning rate, and events during training."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from zoo.comparison.configurations import Group
from zoo.comparison.paired import paired
from zoo.comparison.quantities import (
    BITS_PER_DIM,
    GRADIENT_SPIKES,
    LOSS_SPIKES,
    NLL,
    NON_FINITE_STEPS,
    OSCILLATION,
    UPDATES_WATCHED,
    Quantity,
)
from zoo.comparison.rates import common_rates, sensitivities
from zoo.comparison.studies import Study
from zoo.comparison.tables.cells import (
    Cell,
    CellOf,
    Footnotes,
    Table,
    deviation,
    empty,
    heading,
    number,
    rows,
    scalar,
)
from zoo.comparison.tables.declare import study_table
from zoo.record import Direction

EVENTS = (LOSS_SPIKES, GRADIENT_SPIKES, NON_FINITE_STEPS)
SENSITIVITY = "rate sensitivity"
NOTES = {
    "spread": "spread: standard deviation over seeds relative to the mean, [seeds]; n=1 has none",
    "single": "One run each (n=1): there is no spread over seeds",
    "events": (
        "spikes and skipped steps: in 1,000 updates; oscillation: of the validation criterion (GANs: "
        "the energy distance of samples), over the last third of training; criteria of different kinds "
        "do not compare"
    ),
    "sensitivity": (
        "rate sensitivity: standard deviation over learning rates of the log distance, mean over seeds; "
        "compare models with the same rates"
    ),
    "behind": (
        "nats behind the best: mean over test examples of the paired difference from the best of "
        "the same kind, seeds paired in order, ± its standard error over examples"
    ),
}


@study_table("stability", order=10, beside=True)
def stability_table(title: str, study: Study) -> Table | None:
    """Return the table; None if every model has a single run without a count of training events."""
    watched = any(run.record.stability.updates_watched for run in study.runs)
    seeded = any(len(group.runs) > 1 for group in study.groups)
    if not watched and not seeded:
        return None
    footnotes = Footnotes()
    rates, best = common_rates(study), _best_likelihoods(study)
    columns: list[tuple[str, Direction, CellOf]] = [("finished", "higher", _finished)]
    columns += [(f"{heading(q.name)} spread", "lower", _spread_of(q)) for q in _measured(study)]
    columns += [(event.name, "lower", _rate_of(event)) for event in EVENTS]
    columns.append((OSCILLATION.name, "lower", _oscillation))
    columns.append((SENSITIVITY, "lower", lambda group: _rate_sensitivity(study, group, rates, footnotes)))
    if best:
        columns.append(("nats behind the best", "lower", lambda group: _behind(group, best)))
    table = Table(
        title=title,
        columns=[*(name for name, _, _ in columns), "status"],
        directions=[*(direction for _, direction, _ in columns), "none"],
        rows=rows(study, study.ordered, [cell for _, _, cell in columns], footnotes),
        notes=[],
        beside=True,
    ).keep(lambda cell: cell.value is not None)
    shown = {
        "spread": seeded,
        "single": not seeded,
        "events": watched,
        "sensitivity": SENSITIVITY in table.columns,
        "behind": bool(best),
    }
    table.notes = [*(note for name, note in NOTES.items() if shown[name]), *footnotes.lines()]
    return table


def _measured(study: Study) -> list[Quantity]:
    """Return the study's likelihood and its distance between samples and data, where it has them."""
    likelihoods = (BITS_PER_DIM, NLL)
    likelihood = next((q for q in likelihoods if any(q.name in r.record.metrics for r in study.runs)), None)
    return [quantity for quantity in (likelihood, study.quality) if quantity is not None]


def _finished(group: Group) -> Cell:
    done, runs = len(group.finished), len(group.runs)
    return scalar(f"{done} of {runs}", done / runs, runs)


def _spread_of(quantity: Quantity) -> CellOf:
    """Return the cell of the standard deviation over seeds, relative to the mean."""

    def cell(group: Group) -> Cell:
        values = group.values(quantity)
        if len(values) == 1:
            return Cell("n=1")
        if not values or statistics.fmean(values) == 0:
            return empty()
        spread = deviation(values) / abs(statistics.fmean(values))
        return scalar(f"{100 * spread:.2g} % [{len(values)}]", spread, len(values))

    return cell


def _rate_of(event: Quantity) -> CellOf:
    """Return the cell of how often an event happens in 1,000 updates, over all runs, finished or not."""

    def cell(group: Group) -> Cell:
        counts = [(event.of(run.record), UPDATES_WATCHED.of(run.record)) for run in group.runs]
        watched = [(count, updates) for count, updates in counts if count is not None and updates]
        if not watched:
            return empty()
        rate = 1000 * sum(count for count, _ in watched) / sum(updates for _, updates in watched)
        return scalar(number(rate), rate)

    return cell


def _oscillation(group: Group) -> Cell:
    values = group.values(OSCILLATION)
    return scalar(number(statistics.fmean(values)), statistics.fmean(values)) if values else empty()


def _rate_sensitivity(
    study: Study, group: Group, rates: Sequence[float] | None, footnotes: Footnotes
) -> Cell:
    measured = sensitivities(study, [group], rates)
    if measured is None or not measured[1][0]:
        return empty()
    used, (spreads,) = measured
    mark = footnotes.mark(f"at learning rates {', '.join(f'{rate:g}' for rate in used)}")
    mean = statistics.fmean(spreads)
    return scalar(f"{number(mean)} [{len(spreads)}]", mean, len(spreads), marks=mark)


def _best_likelihoods(study: Study) -> dict[str, Group]:
    """Return for each kind of likelihood the best configuration, if there are others to compare with it."""
    by_kind: dict[str, list[Group]] = {}
    for group in study.groups:
        kinds = group.kinds(NLL.name)
        if len(kinds) == 1 and group.values(NLL):
            by_kind.setdefault(kinds.pop(), []).append(group)
    return {
        kind: min(groups, key=lambda group: statistics.fmean(group.values(NLL)))
        for kind, groups in by_kind.items()
        if any(paired(groups[0].finished[0], other.finished[0]) for other in groups[1:])
    }


def _behind(group: Group, best: dict[str, Group]) -> Cell:
    """Return how many nats per example a model lies behind the best of its kind, on the same examples."""
    kinds = group.kinds(NLL.name)
    leader = best.get(kinds.pop()) if len(kinds) == 1 else None
    if leader is None or not group.finished:
        return empty()
    if leader.runs == group.runs:
        return scalar("best of its kind", 0.0)
    pairs = zip(leader.finished, group.finished, strict=False)
    differences = [d for a, b in pairs if (d := paired(a, b)) is not None]
    if not differences:
        return empty()
    gap = statistics.fmean(d.mean for d in differences)
    # the seeds score the same examples, so their errors are not independent and do not average out
    error = statistics.fmean(d.standard_error for d in differences)
    text = f"{number(gap, error)} [{len(differences)}]"
    return scalar(text, gap, len(differences), spread=error)
