"""Write results/studies/cross_fitting.md: likelihoods on all 1,797 digits beside those on the split's 360.

zoo sweep digits_folds
python scripts/cross_fitting.py runs/digits_folds results/claims/records.tar.xz

Five runs of a configuration, each trained without one fifth of the images (``data.fold``), judge every image
once. Two models are compared fold by fold: the spread of the five differences has the draw of test images,
that of training images and the randomness of training, so the t interval of their mean (4 degrees of
freedom) is about data and trainings drawn anew. On the fixed split the runs of one configuration differ in
their seeds; the interval is the ledger's, about other seeds and other test images, but the same training
images. Nothing is trained here. ``cross_fitting.json`` has the numbers of the table and the runs behind them.
"""

from __future__ import annotations

import json
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from zoo.comparison import quantities
from zoo.comparison.claims.compare import compare_likelihood
from zoo.comparison.claims.evidence import Missing
from zoo.comparison.collect import Run, collect
from zoo.comparison.configurations import Group, settings
from zoo.comparison.statistics import Outcome, mean_of
from zoo.data.digits import FOLDS
from zoo.errors import ZooError
from zoo.record.files import write_atomic

PLACE = Path(__file__).resolve().parents[1] / "results" / "studies"
FOLD = "data.fold"


@dataclass(frozen=True)
class Crossed:
    """A configuration: its run of each fold, and its runs on the fixed split.

    Attributes:
        folds: the run by fold.
        fixed: the runs on the fixed split; they differ in their seeds.
    """

    model: str
    folds: Mapping[int, Run]
    fixed: Group

    @property
    def kind(self) -> str:
        """Kind of the likelihood, the same for all runs; ``exact†`` if noise was added to the pixels."""
        return ", ".join(sorted(self.fixed.kinds("bits_per_dim")))

    @property
    def bits(self) -> list[float]:
        """Mean bits/dim of each fold's test images."""
        return [bits(self.folds[fold]) for fold in range(FOLDS)]

    @property
    def images(self) -> int:
        """Number of images that the folds judge."""
        return sum(run.record.metrics["bits_per_dim"].n or 0 for run in self.folds.values())


def bits(run: Run) -> float:
    """Return a run's bits/dim.

    Raises:
        ZooError: the run has none, for example because it diverged.
    """
    metric = run.record.metrics.get("bits_per_dim")
    if metric is None or metric.value is None:
        raise ZooError(f"{run.directory} has no bits/dim ({run.record.status}); it cannot be cross-fitted.")
    return metric.value


def crossed(runs: Iterable[Run]) -> list[Crossed]:
    """Return the configurations that were run on folds, the best mean bits/dim over the folds first.

    Raises:
        ZooError: no run is one of a fold, or a configuration lacks one of its folds, has one twice, or was
            not run on the fixed split.
    """
    split: dict[tuple[str, str], list[Run]] = defaultdict(list)
    for run in runs:
        own = {k: v for k, v in settings(run).items() if k != FOLD}
        split[run.record.model, json.dumps(own, sort_keys=True)].append(run)
    found = []
    for (model, _), members in split.items():
        folds = {fold: run for run in members if (fold := settings(run).get(FOLD)) is not None}
        if not folds:
            continue
        fixed = [run for run in members if run not in folds.values()]
        missing = sorted(set(range(FOLDS)) - folds.keys())
        if missing:
            raise ZooError(f"{model} lacks the folds {missing}; make them with: zoo sweep digits_folds")
        if len(fixed) < 2:
            raise ZooError(
                f"{model} has {len(fixed)} runs on the fixed split by these settings; give 2 or more."
            )
        if any(settings(run).get(FOLD) is not None for run in fixed):
            raise ZooError(f"{model} has more than one run of a fold; give one.")
        found.append(Crossed(model, folds, Group(model, fixed, model)))
    if not found:
        raise ZooError("No run is one of a fold; make them with: zoo sweep digits_folds")
    return sorted(found, key=lambda one: statistics.fmean(one.bits))


def on_fixed(a: Crossed, b: Crossed) -> Outcome:
    """Return the ledger's test of the difference of two configurations in bits/dim on the fixed split.

    Raises:
        ZooError: it cannot be tested.
    """
    part = compare_likelihood(a.fixed, b.fixed, "below")
    if isinstance(part, Missing) or part.outcome is None:
        raise ZooError(f"{a.model} and {b.model} cannot be compared on the fixed split.")
    return part.outcome


def on_folds(a: Crossed, b: Crossed) -> Outcome:
    """Return the t-test of the mean of five differences in bits/dim, one a fold."""
    return mean_of([x - y for x, y in zip(a.bits, b.bits, strict=True)])


def error_on_fixed(one: Crossed) -> float:
    """Return the standard error in bits/dim of the mean over seeds and test examples on the fixed split."""
    values = one.fixed.values(quantities.BITS_PER_DIM)
    errors = [run.record.metrics["bits_per_dim"].standard_error or 0.0 for run in one.fixed.finished]
    return math.hypot(statistics.stdev(values) / math.sqrt(len(values)), statistics.fmean(errors))


def table(found: list[Crossed]) -> str:
    """Return both tables in Markdown: the values, and the differences of neighbours of one kind."""
    lines = [
        "| model | likelihood | bits/dim, fixed split ± SE (test images, seeds) "
        f"| bits/dim, {FOLDS} folds ± SE (test images) | least to most of a fold |",
        "|---|---|---:|---:|---:|",
    ]
    for one in found:
        fixed = one.fixed.values(quantities.BITS_PER_DIM)
        n = one.fixed.finished[0].record.metrics["bits_per_dim"].n
        error = statistics.stdev(one.bits) / math.sqrt(FOLDS)
        lines.append(
            f"| {one.model} | {one.kind} | {statistics.fmean(fixed):.4f} ± {error_on_fixed(one):.4f} "
            f"({n}, {len(fixed)}) | {statistics.fmean(one.bits):.4f} ± {error:.4f} ({one.images:,}) "
            f"| {min(one.bits):.4f} to {max(one.bits):.4f} |"
        )
    lines += [
        "",
        "| better by the folds, next | difference, fixed split | p | difference, folds | p |",
        "|---|---:|---:|---:|---:|",
    ]
    for first, second in neighbours(found):
        cells = [
            f"{o.estimate:+.4f} [{o.low:+.4f}, {o.high:+.4f}] | {o.p:.2g}"
            for o in (on_fixed(first, second), on_folds(first, second))
        ]
        lines.append(f"| {first.model}, {second.model} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def neighbours(found: list[Crossed]) -> list[tuple[Crossed, Crossed]]:
    """Return the configurations of one kind of likelihood that follow one another by the folds."""
    kinds = dict.fromkeys(one.kind for one in found)
    return [pair for kind in kinds for pair in pairwise([one for one in found if one.kind == kind])]


def numbers(found: list[Crossed]) -> list[dict[str, object]]:
    """Return the values of the first table with the names of the runs behind them."""
    return [
        {
            "model": one.model,
            "kind": one.kind,
            "folds": {one.folds[fold].record.run_id: bits(one.folds[fold]) for fold in range(FOLDS)},
            "fixed": {run.record.run_id: bits(run) for run in one.fixed.finished},
        }
        for one in found
    ]


if __name__ == "__main__":
    runs, _ = collect([Path(argument) for argument in sys.argv[1:]])
    found = crossed(runs)
    write_atomic(PLACE / "cross_fitting.md", table(found))
    write_atomic(PLACE / "cross_fitting.json", json.dumps(numbers(found), indent=1) + "\n")
    print(table(found), end="")
