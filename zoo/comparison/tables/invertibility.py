"""How exactly flows are inverted, and how large the errors of their log-determinants are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zoo.comparison.configurations import Group
from zoo.comparison.studies import Study
from zoo.comparison.tables.cells import Cell, CellOf, Footnotes, Table, empty, rows, scalar
from zoo.comparison.tables.declare import study_table

METRICS = {
    "error, float32": "invertibility/float32",
    "error, bfloat16": "invertibility/bfloat16",
    "log-det error (nats)": "log_det_error",
    "Lipschitz": "lipschitz",
}
ESTIMATES = {  # details of the log-likelihood
    "sd of estimate (nats)": "estimator_deviation_nats",
    "change, looser (nats)": "looser_change_nats",
    "bias bound (nats)": "bias_bound_nats",
}
NOTE = (
    "error: the largest of an example after the way to its latents and back, in levels or data units; "
    "log-det: against the whole Jacobian; everything is the largest over seeds, and ranks nothing"
)


@study_table("invertibility", order=20, beside=True)
def invertibility_table(title: str, study: Study) -> Table | None:
    """Return the table of a study's flows, the largest value over seeds in each cell; None without flows."""
    footnotes = Footnotes()

    def error(metric: str) -> CellOf:
        def cell(group: Group) -> Cell:
            records = [run.record for run in group.finished]
            metrics = [record.metrics[metric] for record in records if metric in record.metrics]
            cell = _largest([m.value for m in metrics if m.value is not None])
            reason = next((m.reason for m in metrics if m.reason), None)
            cell.marks = footnotes.mark(reason) if reason else ""
            return cell

        return cell

    def estimate(detail: str) -> CellOf:
        def cell(group: Group) -> Cell:
            scored = _likelihood_details(group)
            cell = _largest([details[detail] for details in scored if detail in details])
            if detail == "looser_change_nats" and cell.value is not None:
                cell.marks = footnotes.mark(
                    next((d["looser"] for d in scored if "looser" in d), "setting unknown")
                )
            return cell

        return cell

    columns = [error(metric) for metric in METRICS.values()]
    columns += [estimate(detail) for detail in ESTIMATES.values()]
    flows = [group for group in study.ordered if _is_measured(group)]
    if not flows:
        return None
    body = rows(study, flows, columns, footnotes)
    headings = [*METRICS, *ESTIMATES, "status"]
    table = Table(
        title=title,
        columns=headings,
        directions=["none"] * len(headings),
        rows=body,
        notes=[NOTE, *footnotes.lines()],
        beside=True,
    )
    return table.keep(lambda cell: cell.text != "—" or bool(cell.marks))


def _is_measured(group: Group) -> bool:
    return any(metric in run.record.metrics for run in group.finished for metric in METRICS.values())


def _likelihood_details(group: Group) -> list[dict[str, Any]]:
    metrics = [run.record.metrics.get("nll") for run in group.finished]
    return [nll.details for nll in metrics if nll is not None]


def _largest(values: Sequence[float]) -> Cell:
    """Return a cell with the value that is farthest from 0."""
    if not values:
        return empty()
    value = max(values, key=abs)
    return scalar(f"{value:.2g}", value, len(values))
