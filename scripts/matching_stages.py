"""Write results/studies/matching_stages.md: matching against likelihood, stage by stage.

python scripts/matching_stages.py

The claim about matching compares two trainings of one field for equal seconds. Its first stage ran on
another machine than the runs that decide, and on the second machine other work slowed some runs. So the
table has each stage alone and all together, with Welch's interval of the difference (matching minus
likelihood, without the error of the test examples, which all share), the p of its two one-sided tests of
equivalence, and whether a side has a heavy tail, for which the ledger takes ranks instead. Nothing is
trained here.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from zoo.comparison.collect import Run, collect
from zoo.comparison.quantities import BITS_PER_DIM, NLL, UPDATES
from zoo.comparison.statistics import equivalence, heavy, welch
from zoo.record.files import write_atomic

RESULTS = Path(__file__).resolve().parents[1] / "results"
FIRST = RESULTS / "studies" / "matching_first_stage.tar.xz"
SECOND = RESULTS / "ffjord_vs_matching" / "records.tar.xz"
MEASURES = {"digits": (BITS_PER_DIM, 0.01), "8gaussians": (NLL, 0.03)}  # with the margin of equivalence
SIDES = ("flow_matching", "ffjord")
EXTENDED = {"digits": 30, "8gaussians": 21}  # the first seed of those added when the first stage was left out


def table(first: Sequence[Run], second: Sequence[Run]) -> str:
    """Return the Markdown table of the stages, a line for each data set and set of seeds."""
    text = [
        "| data | runs | n | updates by likelihood | by matching | difference [95 %] | p, equivalent "
        "| heavy tail |",
        "|---|---|---:|---:|---:|---:|---:|---|",
    ]
    for data, since in EXTENDED.items():
        early = [run for run in second if run.record.seed < since]
        late = [run for run in second if run.record.seed >= since]
        sets = {
            "first stage": first,
            "second machine": early,
            "added to it": late,
            "both, which decide": second,
            "all": [*first, *second],
        }
        text += [line(data, name, runs) for name, runs in sets.items()]
    return "\n".join(text) + "\n"


def line(data: str, name: str, runs: Sequence[Run]) -> str:
    """Return the line of these runs on one data set."""
    quantity, margin = MEASURES[data]
    chosen = [[r for r in runs if r.record.data == data and r.record.model == side] for side in SIDES]
    seeds = sorted(run.record.seed for run in chosen[0])
    values = [[quantity.of(run.record) for run in side] for side in chosen]
    updates = [sorted(UPDATES.of(run.record) for run in side) for side in chosen]
    outcome = welch(*values)
    cells = [
        data,
        f"{name}, seeds {seeds[0]} to {seeds[-1]}",
        " and ".join(dict.fromkeys(str(len(side)) for side in chosen)),
        *(f"{counts[0]:,.0f} to {counts[-1]:,.0f}" for counts in reversed(updates)),
        f"{outcome.estimate:.4f} [{outcome.low:.4f}, {outcome.high:.4f}] {quantity.unit}",
        f"{equivalence(outcome, margin):.2g}",
        "yes" if heavy(*values) else "no",
    ]
    return f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    made = table(*(collect([place])[0] for place in (FIRST, SECOND)))
    write_atomic(RESULTS / "studies" / "matching_stages.md", made)
    print(made, end="")
